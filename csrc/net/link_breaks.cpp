// Link's data streams that break: what they owed is sent again, once, and what has come is said.
//
// A slice that left is owed until the other end says that it has come. `broken` is the last word
// about a stream, behind all receipts: what is beyond its count never comes by that stream.
#include <algorithm>
#include <utility>

#include "net/link.hpp"

namespace isthmus {
namespace {

constexpr std::uint64_t nothing_more = ~std::uint64_t{0};  // than what was acknowledged
// Receipts are few beside the data, and soon enough that little memory waits for them.
constexpr std::uint64_t receipt_bytes = 1 << 20;
constexpr std::int64_t receipt_ns = 5 * millisecond_ns;
// A peer that leaves or dies ends all its streams; the control stream says so about as soon.
constexpr std::int64_t least_grace_ns = 10 * millisecond_ns;
constexpr int graces_a_timeout = 4;
constexpr std::size_t most_unsettled = 1024;  // streams of which the other end says nothing

void divert(ByteSpan& payload, Memory& unwanted) {
  unwanted = allocate(payload.size());
  payload = {unwanted.get(), payload.size()};
}

}  // namespace

void Owed::detach(SliceBuffers& buffers) {
  if (copy != nullptr || frame.count == 0) return;
  const std::span pieces(frame.pieces.data(), static_cast<std::size_t>(frame.count));
  std::size_t size = 0;
  for (const ByteView piece : pieces) size += piece.size();
  copy = buffers.take(size);
  std::byte* end = copy.get();
  for (const ByteView piece : pieces) end = std::ranges::copy(piece, end).out;
  frame.count = 1;
  frame.pieces[0] = {copy.get(), size};
}

void Owed::drop() {
  moot = true;
  frame.count = 0;
  copy = {};
}

bool Unfinished::is(const Header& again) const {
  return header.operation == again.operation && header.transfer == again.transfer &&
         header.offset == again.offset && header.generation == again.generation &&
         header.length == again.length;
}

std::int64_t Link::grace_ns() const {
  const std::int64_t round_trips_ns = 2 * control_.path().rtt_ns;
  return std::clamp(round_trips_ns, least_grace_ns,
                    std::max(least_grace_ns, options_.heartbeat_timeout_ns / graces_a_timeout));
}

Status Link::mind_breaks(std::int64_t now_ns) {
  if (peer_leaves_ || said_goodbye_) {
    without_data_ns_ = never_ns;
    return {};
  }
  for (DataStream& data : data_) {
    if (!data.broken()) continue;
    data.broken_since_ns = std::min(data.broken_since_ns, now_ns);
    if (data.damaged || now_ns >= data.broken_since_ns + grace_ns()) break_off(data);
  }
  remove_broken();
  if (now_ns >= minute_ends_ns_) {
    minute_ends_ns_ = now_ns + 60 * second_ns;
    damages_ = new_controls_ = 0;
  }
  if (std::max(broken_.size(), unfinished_.size()) > most_unsettled)
    return wire_error("it does not say what has come by connections that broke");
  const bool carries = std::ranges::any_of(data_, &DataStream::carries);
  without_data_ns_ = carries ? never_ns : std::min(without_data_ns_, now_ns);
  if (now_ns >= data_due_ns())
    return peer_lost("all its data connections broke, and no other one came in time");
  return {};
}

std::int64_t Link::data_due_ns() const {
  if (without_data_ns_ == never_ns) return never_ns;
  return without_data_ns_ + timeouts_without * options_.heartbeat_timeout_ns;
}

std::int64_t Link::breaks_due_ns() const {
  std::int64_t due_ns = data_due_ns();
  if (peer_leaves_ || said_goodbye_) return due_ns;
  for (const DataStream& data : data_)
    if (data.broken())
      due_ns = std::min(due_ns,
                        data.broken_since_ns == never_ns ? 0 : data.broken_since_ns + grace_ns());
  return due_ns;
}

// REQUIRES: remove_broken() follows.
void Link::break_off(DataStream& data) {
  if (data.header) unfinished_.push_back({*data.header, data.payload, std::move(data.unwanted)});
  Broken broken{.number = data.number, .known = data.known, .owed = std::move(data.owed)};
  if (data.out && data.out->frame.header.kind == Kind::slice) {
    broken.cut = 1;
    broken.owed.push_back(std::move(*data.out));
  }
  control(Kind::broken, 0, Writer().put(data.number).put(data.came).take());
  if (!data.leaves && (!data.unproven || data.replaces)) ++missing_;
  if (!data.unproven) {
    ++stats_.streams_broken;
    breaks_.push_back(std::move(data.why));
  }
  keep_books_of(data);
  data.stream.reset();
  broken_.push_back(std::move(broken));
}

void Link::remove_broken() {
  const auto is_broken = [](const DataStream& data) { return data.stream == nullptr; };
  if (std::erase_if(data_, is_broken) > 0) share_unsent();
}

Status Link::hear_break(ByteView payload, Traffic& traffic) {
  Reader in(payload);
  const auto number = in.get<std::uint16_t>();
  const auto count = in.get<std::uint64_t>();
  if (!in.ended()) return wire_error("its word about a broken connection makes no sense");
  if (peer_leaves_ || said_goodbye_) return {};
  if (DataStream* data = find(number)) {
    if (data->why.empty()) data->why = "the other end has lost it";
    break_off(*data);
    remove_broken();
  }
  const auto found = std::ranges::find(broken_, number, &Broken::number);
  if (found != broken_.end()) {
    Broken broken = std::move(*found);
    broken_.erase(found);
    return settle(std::move(broken), count, traffic);
  }
  // Its first word never came, or its last one and all receipts have gone.
  if (count != nothing_more)
    control(Kind::broken, 0, Writer().put(number).put(nothing_more).take());
  return {};
}

Status Link::settle(Broken broken, std::uint64_t count, Traffic& traffic) {
  if (count != nothing_more) {
    if (auto s = acknowledge(broken.owed, broken.known, broken.cut, count, traffic); !s.ok())
      return s;
  }
  for (Owed& owed : broken.owed)
    if (!owed.moot) again_.push_back(std::move(owed));
  return {};
}

// Of what is owed, all but the `cut` last may have come.
Status Link::acknowledge(std::deque<Owed>& owed, std::uint64_t& known, std::size_t cut,
                         std::uint64_t count, Traffic& traffic) {
  if (count < known || count - known > owed.size() - cut)
    return wire_error("it says to have data that was never sent");
  for (; known < count; ++known) {
    const Owed& first = owed.front();
    if (!first.told && !first.moot) traffic.sent(options_.peer, first.frame);
    owed.pop_front();
  }
  return {};
}

Status Link::hear_receipt(ByteView payload, Traffic& traffic) {
  Reader in(payload);
  while (in.ok() && in.left() > 0) {
    const auto number = in.get<std::uint16_t>();
    const auto count = in.get<std::uint64_t>();
    if (!in.ok()) break;
    Status heard;
    if (DataStream* data = find(number)) {
      heard = acknowledge(data->owed, data->known, 0, count, traffic);
    } else if (const auto broken = std::ranges::find(broken_, number, &Broken::number);
               broken != broken_.end()) {
      heard = acknowledge(broken->owed, broken->known, broken->cut, count, traffic);
    }
    if (!heard.ok()) return heard;
  }
  return in.ok() ? Status{} : wire_error("its receipts make no sense");
}

void Link::acknowledge_in_time(std::int64_t now_ns) {
  if (peer_leaves_ || unsaid_bytes_ == 0) {
    receipts_due_ns_ = never_ns;
    return;
  }
  receipts_due_ns_ = std::min(receipts_due_ns_, now_ns + receipt_ns);
  if (unsaid_bytes_ >= receipt_bytes || now_ns >= receipts_due_ns_) say_receipts();
}

void Link::say_receipts() {
  Writer out;
  bool any = false;
  for (DataStream& data : data_) {
    if (std::exchange(data.said, data.came) == data.came) continue;
    out.put(data.number).put(data.came);
    any = true;
  }
  if (any && !said_goodbye_) control(Kind::receipt, 0, out.take());
  unsaid_bytes_ = 0;
  receipts_due_ns_ = never_ns;
}

// Who leaves needs nothing more.
void Link::see_it_leave(Traffic& traffic) {
  peer_leaves_ = true;
  const auto tell = [&](std::deque<Owed>& owed) {
    for (const Owed& one : owed)
      if (!one.told && !one.moot) traffic.sent(options_.peer, one.frame);
    owed.clear();
  };
  for (DataStream& data : data_) tell(data.owed);
  for (Broken& broken : broken_) tell(broken.owed);
  broken_.clear();
  tell(again_);
}

template <class Call>
void Link::each_that_left(Call call) {
  for (DataStream& data : data_) std::ranges::for_each(data.owed, call);
  for (Broken& broken : broken_) std::ranges::for_each(broken.owed, call);
  std::ranges::for_each(again_, call);
}

void Link::detach(std::uint64_t operation) {
  const auto copy = [operation, this](Owed& owed) {
    if (owed.frame.header.operation == operation) owed.detach(copies_);
  };
  for (DataStream& data : data_)
    if (data.out) copy(*data.out);
  each_that_left(copy);
}

void Link::copy_lent(std::uint64_t operation) {
  const auto copy = [operation, this](Owed& owed) {
    if (owed.frame.lent && owed.frame.header.operation == operation) owed.detach(copies_);
  };
  for (DataStream& data : data_)
    if (data.out) copy(*data.out);
  each_that_left(copy);
}

void Link::forget(std::uint64_t operation) {
  for (DataStream& data : data_)
    if (data.out && data.out->frame.header.operation == operation) data.out->detach(copies_);
  each_that_left([operation](Owed& owed) {
    if (owed.frame.header.operation == operation) owed.drop();
  });
  std::erase_if(again_, [](const Owed& owed) { return owed.moot; });
}

void Link::let_go() {
  for (DataStream& data : data_) {
    if (data.out) {
      data.out->detach(copies_);
      data.out->moot = true;
    }
    if (data.header) divert(data.payload, data.unwanted);
  }
  each_that_left([](Owed& owed) { owed.drop(); });
  again_.clear();
  for (Unfinished& one : unfinished_) divert(one.payload, one.unwanted);
}

void Link::set_generation(std::uint32_t generation) {
  options_.stamp.generation = generation;
  std::erase_if(unfinished_,
                [&](const Unfinished& one) { return one.header.generation < generation; });
}

}  // namespace isthmus
