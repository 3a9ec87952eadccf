// Engine's traffic: what its links bring and take, and how operations begin.
#include <algorithm>

#include "session/engine.hpp"

namespace isthmus {
namespace {

// A peer's downlink is shared when all send, as they do in all-reduces only.
int paced_peer(int peer, const Operation& operation) {
  return operation.announcement().collective == Collective::all_reduce ? peer : Pacer::no_peer;
}

}  // namespace

// Whom this site listens to, and its operations run over.
SiteSet Engine::members() const {
  if (membership_) return membership_->candidates();
  return SiteSet::first(static_cast<int>(sites_.size()));
}

Operation* Engine::find(std::uint64_t number) {
  const auto found = operations_.find(number);
  return found == operations_.end() ? nullptr : found->second.get();
}

void Engine::submit(std::shared_ptr<Work> work, Request request, std::int64_t now_ns) {
  const Status refusal = !failed_.ok()              ? failed_
                         : phase_ != Phase::running ? cancelled("the session is closed")
                                                    : Status{};
  if (!refusal.ok()) return work->finish({.status = refusal});
  const std::uint64_t number = work->operation();
  const bool keeps_terms = request.terms;
  next_operation_ = number + 1;
  if (!operations_.contains(first_open_)) progress_ns_ = now_ns;
  const Place place{.rank = rank_, .world = static_cast<int>(sites_.size())};
  auto& slot = operations_[number];
  slot = std::make_unique<Operation>(
      std::move(work), std::move(request), place,
      Means{.large = buffers_, .slices = slice_buffers_, .workers = *options_.workers});
  Operation& operation = *slot;
  ledger_.begun(number, now_ns);
  if (!stopped_) operation.begin(membership_ ? membership_->roster() : members());
  if (operation.failed()) ledger_.failed(number);
  const auto payload = to_payload(operation.announcement());
  for (auto& link : links_)
    if (link != nullptr && !link->leaving()) link->control(Kind::announce, number, payload);
  progress_ = true;
  for (auto& [peer, theirs] : early_->take_announcements(number)) {
    // Of who is out not all sites may have heard.
    if (membership_ && !membership_->candidates().has(peer)) continue;
    if (auto s = hear(peer, number, std::move(theirs)); !s.ok()) {
      auto& link = links_[static_cast<std::size_t>(peer)];
      if (membership_ && link != nullptr) link->give_up(now_ns);
      lose(peer, broke_protocol(s, peer));
    }
  }
  if (membership_ && keeps_terms)
    refuse_operation(operation, refused(operation.title() +
                                        ": terms are not kept where sites carry on after a loss"));
  if (const auto told = refusals_.extract(number); !told.empty() && !operation.done())
    refuse_operation(operation, told.mapped());
}

Status Engine::hear(int peer, std::uint64_t number, Announcement theirs) {
  Operation* operation = find(number);
  if (operation == nullptr) return wire_error("it announced an operation that is over", peer);
  const auto me = static_cast<std::size_t>(rank_), them = static_cast<std::size_t>(peer);
  if (const auto ahead = ahead_by_operation_.find(number); ahead != ahead_by_operation_.end()) {
    ahead_bytes_[them] -= ahead->second[peer];
    ahead->second.erase(peer);
    if (ahead->second.empty()) ahead_by_operation_.erase(ahead);
  }
  auto slices =
      stopped_ ? std::vector<Early::Slice>{} : early_->take_slices(peer, number, generation_);
  if (operation->failed()) return {};
  if (operation->has_heard(peer)) return wire_error("it announced an operation twice", peer);
  const std::string odd = difference(operation->announcement(), sites_[me], theirs, sites_[them]);
  if (!odd.empty()) {
    refuse_operation(*operation,
                     refused(operation->title() + " differs between sites: " + odd +
                                 "; all sites must call the same operations in the same order",
                             peer));
    return {};
  }
  operation->heard(peer, std::move(theirs));
  if (operation->begun_everywhere()) ledger_.begun_everywhere(number, now_ns_);
  progress_ = true;
  progress_ns_ = now_ns_;
  for (Early::Slice& slice : slices)
    if (auto s = deliver(*operation, std::move(slice)); !s.ok()) return s;
  return {};
}

// Ends one operation at every site; the session goes on with the next. The others are told: a site
// may leave for this before the announcement that differs has reached them all.
void Engine::refuse_operation(Operation& operation, const Status& why) {
  for (auto& link : links_) {
    if (link == nullptr) continue;
    link->detach(operation.number());
    if (!link->leaving()) link->control(Kind::abort, operation.number(), to_payload(why));
  }
  operation.fail(why);
  ledger_.failed(operation.number());
  progress_ = true;
}

Status Engine::heed_refusal(std::uint64_t number, Status why) {
  constexpr std::size_t max_text = 2048;
  why.text.resize(std::min(why.text.size(), max_text));
  if (number >= next_operation_) {
    if (number > next_operation_ + Early::max_operations_ahead)
      return wire_error("it refused an operation that is too far ahead");
    refusals_.emplace(number, std::move(why));
    return {};
  }
  if (Operation* operation = find(number); operation != nullptr && !operation->done())
    refuse_operation(*operation, why);
  return {};
}

// Links take turns of one frame while the pacer counts.
bool Engine::may_send(int peer, const Operation& operation) {
  if (!pacer_.active()) return true;
  if (had_turn_[static_cast<std::size_t>(peer)]) return false;
  const std::int64_t ready_ns = pacer_.ready_ns(paced_peer(peer, operation), now_ns_);
  if (ready_ns > now_ns_) held_until_ns_ = std::min(held_until_ns_, ready_ns);
  return ready_ns <= now_ns_;
}

bool Engine::next(int peer, OutFrame& frame) {
  if (stopped_) return false;
  auto& ahead = ahead_bytes_[static_cast<std::size_t>(peer)];
  const bool behind = membership_ && !membership_->abreast(peer);
  const Link& link = *links_[static_cast<std::size_t>(peer)];
  const First first = link.leaves_machine() ? First::inputs : First::sums;
  for (auto& [number, operation] : operations_) {
    if (!operation->has_next(peer)) continue;
    const bool eager = behind || !operation->has_heard(peer);
    if (eager && ahead + max_payload_bytes > Early::window_bytes) return false;
    if (!may_send(peer, *operation)) return false;
    const auto slice = operation->next(peer, first);
    if (!slice) continue;
    frame.header.kind = Kind::slice;
    frame.header.operation = number;
    frame.header.transfer = slice->id.transfer;
    frame.header.offset = slice->id.offset;
    frame.header.length = 0;
    frame.count = slice->pieces;
    frame.pieces = slice->bytes;
    frame.lent = slice->of_input;
    frame.send = slice->send;
    frame.slice = slice->slice;
    for (int i = 0; i < slice->pieces; ++i)
      frame.header.length +=
          static_cast<std::uint32_t>(slice->bytes[static_cast<std::size_t>(i)].size());
    last_sender_ = static_cast<std::size_t>(peer);
    had_turn_[last_sender_] = true;
    pacer_.spend(paced_peer(peer, *operation), frame.header.length);
    ledger_.moved(number, now_ns_);
    if (operation->announcement().collective == Collective::all_reduce)
      ledger_.sent(slice->elements, frame.header.length);
    if (eager) {
      ahead += frame.header.length;
      ahead_by_operation_[number][peer] += frame.header.length;
    }
    return true;
  }
  return false;
}

void Engine::sent(int, const OutFrame& frame) {
  progress_ = true;
  progress_ns_ = now_ns_;
  Operation* operation = find(frame.header.operation);
  if (operation == nullptr || operation->failed()) return;
  if (stopped_ || frame.header.generation != generation_) return;
  OutSlice slice;
  slice.id = {.transfer = frame.header.transfer, .offset = frame.header.offset};
  slice.pieces = frame.count;
  slice.bytes = frame.pieces;
  slice.send = frame.send;
  slice.slice = frame.slice;
  operation->sent(slice);
}

Result<ByteSpan> Engine::place(int peer, const Header& header) {
  auto& watermark = watermarks_[static_cast<std::size_t>(peer)];
  watermark = std::max(watermark, header.watermark);
  const ByteSpan discard = ByteSpan(discard_.get(), header.length);
  if (!failed_.ok() || !members().has(peer)) return discard;
  if (stopped_ || header.generation != generation_) return place_apart(peer, header);
  if (header.operation >= next_operation_) {
    if (header.operation > next_operation_ + Early::max_operations_ahead)
      return wire_error("it sent data of an operation that is too far ahead", peer);
    return early_->place(peer, header);
  }
  Operation* operation = find(header.operation);
  // Who has not heard yet that all have a result may give it to us once more.
  if (operation == nullptr && membership_) return discard;
  if (operation == nullptr) return wire_error("it sent data of an operation that is over", peer);
  if (operation->failed()) return discard;
  auto place =
      operation->place(peer, {.transfer = header.transfer, .offset = header.offset}, header.length);
  // Its announcement may still be on its way, and say that it means another operation.
  if (!place.ok() && !operation->has_heard(peer)) return early_->place(peer, header);
  return place;
}

Status Engine::arrived(int peer, const Header& header, ByteSpan payload) {
  progress_ = true;
  progress_ns_ = now_ns_;
  ledger_.moved(header.operation, now_ns_);
  if (!failed_.ok() || !members().has(peer)) return {};
  if (stopped_ || header.generation != generation_) {
    if (early_->holds(peer, header, payload.data())) early_->arrived(peer, header);
    return {};
  }
  Operation* operation = find(header.operation);
  if (early_->holds(peer, header, payload.data())) {
    const bool open = operation != nullptr && !operation->failed();
    if (header.operation >= next_operation_ || (open && !operation->has_heard(peer))) {
      early_->arrived(peer, header);
      return {};
    }
    Early::Slice slice = early_->take(peer, header);
    return operation == nullptr ? Status{} : deliver(*operation, std::move(slice));
  }
  if (operation == nullptr || operation->failed()) return {};
  return operation->arrived(peer, {.transfer = header.transfer, .offset = header.offset});
}

Status Engine::broke_protocol(const Status& how, int peer) const {
  return {
      how.code, peer,
      "site \"" + sites_[static_cast<std::size_t>(peer)] + "\" broke the protocol: " + how.text};
}

Status Engine::deliver(Operation& operation, Early::Slice slice) {
  if (operation.failed()) return {};
  const SliceId id{.transfer = slice.header.transfer, .offset = slice.header.offset};
  return operation.take(slice.peer, id, std::move(slice.bytes), slice.header.length);
}

Status Engine::control(int peer, Message message) {
  const Header& header = message.header;
  if (!membership_ && header.generation != generation_)
    return wire_error("it sent a frame of another generation");
  if (!members().has(peer)) return {};
  auto& watermark = watermarks_[static_cast<std::size_t>(peer)];
  watermark = std::max(watermark, header.watermark);
  switch (header.kind) {
    case Kind::heartbeat:
    case Kind::goodbye:
      return {};
    case Kind::abort:
      return heed_abort(header, message.payload);
    case Kind::census:
      return heed_census(peer, message.payload);
    case Kind::announce:
      break;
    default:
      return wire_error("it sent a frame that has no place between sites");
  }
  if (!failed_.ok() || phase_ == Phase::closing) return {};
  auto theirs = parse_announcement(message.payload);
  if (!theirs.ok()) return theirs.status();
  if (header.operation < next_operation_) return hear(peer, header.operation, std::move(*theirs));
  if (header.operation > next_operation_ + Early::max_operations_ahead)
    return wire_error("it announced an operation that is too far ahead");
  return early_->announce(peer, header.operation, std::move(*theirs));
}

// Another site's session failed; ours fails for the same reason. It says so to all before it
// leaves: a site that the news has not reached would take the leaver for the cause.
Status Engine::heed_abort(const Header& header, ByteView payload) {
  Reader in(payload);
  const auto code = in.get<std::uint8_t>();
  const auto culprit = in.get<std::int16_t>();
  std::string text = in.get_text();
  if (!in.ended() || code == 0 || code > static_cast<std::uint8_t>(Code::internal_error) ||
      culprit < -1 || culprit >= static_cast<int>(sites_.size()))
    return wire_error("it gave up with a reason that makes no sense");
  Status why{static_cast<Code>(code), culprit, std::move(text)};
  if (header.operation >= first_operation) return heed_refusal(header.operation, std::move(why));
  fail(why, true);
  return {};
}

}  // namespace isthmus
