#include "mesh/relay.hpp"

#include <algorithm>

#include "mesh/messages.hpp"

namespace isthmus {
namespace {

// For a connection to the site that is wanted, made by either end.
constexpr std::int64_t request_timeout_ns = 3 * second_ns;
constexpr std::int64_t offer_timeout_ns = 10 * second_ns;

}  // namespace

void Relay::start(const Roster& roster, Header stamp) {
  roster_ = &roster;
  stamp_ = stamp;
}

void Relay::ask(Channel from, int source, int wanted, std::int64_t now_ns) {
  Request request{.from = std::move(from),
                  .source = source,
                  .wanted = wanted,
                  .deadline_ns = now_ns + request_timeout_ns};
  if (requests_.size() >= max_waiting || splices_.size() >= max_splices)
    return refuse(request, "it carries as many streams for others as it may");
  const Member& member = roster_->members[static_cast<std::size_t>(wanted)];
  if (!member.address.empty()) {
    auto stream = network_.connect(member.address);
    if (stream.ok())
      request.dialled = std::move(*stream);
    else
      request.error = stream.status().text;
  }
  requests_.push_back(std::move(request));
}

void Relay::offer(Channel from, int source, int wanted, std::int64_t now_ns) {
  if (offers_.size() < max_waiting)
    offers_.push_back({std::move(from), source, wanted, now_ns + offer_timeout_ns});
}

void Relay::step(std::int64_t now_ns) {
  deadline_ns_ = never_ns;
  std::erase_if(offers_,
                [&](Offer& offer) { return now_ns >= offer.deadline_ns || !offer.from.waits(); });
  for (Request& request : requests_) serve(request, now_ns);
  std::erase_if(requests_, [](const Request& request) { return request.over; });
  for (const Request& request : requests_)
    deadline_ns_ = std::min(deadline_ns_, request.deadline_ns);
  for (const Offer& offer : offers_) deadline_ns_ = std::min(deadline_ns_, offer.deadline_ns);
  pass(now_ns);
}

void Relay::serve(Request& request, std::int64_t now_ns) {
  if (!request.from.waits()) {
    request.over = true;
  } else if (auto to = way_to(request); to != nullptr) {
    join(request, std::move(to));
  } else if (now_ns >= request.deadline_ns) {
    const Member& member = roster_->members[static_cast<std::size_t>(request.wanted)];
    refuse(request, member.address.empty()
                        ? "site \"" + member.site + "\" has not connected to it"
                        : "it cannot reach " + member.address + ": " +
                              (request.error.empty() ? "no answer" : request.error));
  }
}

// A connection to the site that is wanted, if there is one now: that it has offered, or ours.
std::unique_ptr<Stream> Relay::way_to(Request& request) {
  const auto offered = std::ranges::find_if(offers_, [&](const Offer& offer) {
    return offer.source == request.wanted && offer.wanted == request.source;
  });
  if (offered != offers_.end()) {
    auto stream = offered->from.release();
    offers_.erase(offered);
    return stream;
  }
  if (request.dialled == nullptr) return nullptr;
  const auto stands = request.dialled->write({});
  if (!stands.ok()) {
    request.error = stands.status().text;
    request.dialled.reset();
    return nullptr;
  }
  return request.dialled->connected() ? std::move(request.dialled) : nullptr;
}

void Relay::join(Request& request, std::unique_ptr<Stream> to) {
  request.over = true;
  Header welcome = stamp_;
  welcome.kind = Kind::welcome;
  request.from.send(welcome);
  // 64 bytes into the buffer of a new connection: either they fit or the connection is broken.
  if (!request.from.flush().ok() || !request.from.flushed()) return;
  if (splices_.size() < max_splices) splices_.emplace_back(request.from.release(), std::move(to));
}

void Relay::refuse(Request& request, const std::string& why) {
  request.over = true;
  Header header = stamp_;
  header.kind = Kind::refuse;
  request.from.send(header, encode_refusal(why));
  (void)request.from.flush();
}

void Relay::pass(std::int64_t now_ns) {
  std::erase_if(splices_, [&](Splice& splice) {
    const std::uint64_t before = splice.bytes_passed();
    const bool goes_on = splice.step(now_ns);
    bytes_passed_ += splice.bytes_passed() - before;
    deadline_ns_ = goes_on ? std::min(deadline_ns_, splice.deadline_ns()) : deadline_ns_;
    return !goes_on;
  });
}

}  // namespace isthmus
