// Operation's part in a change of the roster: it stops, begins again, and gives or takes a result
// that some sites have and others lack.
//
// Who only gives in a hand can give it again, from its kept input; who has no part in it keeps
// nothing, and is done as soon as all have begun.
//
// A result travels as float32 that nobody computes with, whatever it is: an all_reduce's elements,
// a broadcast's bytes, or an all_gather's payloads, each behind its length.
#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "session/operation.hpp"

namespace isthmus {
namespace {

constexpr std::uint32_t service_transfer = 0;

std::uint64_t floats_for(std::uint64_t bytes) {
  return (bytes + sizeof(float) - 1) / sizeof(float);
}

}  // namespace

void Operation::stop() {
  end_computing();
  executor_.reset();
  service_.reset();
  begun_ = started_ = false;
}

void Operation::begin(SiteSet roster) {
  if (done_) return;
  roster_ = roster;
  if (const Status no = impossible(); !no.ok()) return fail(no);
  begun_ = true;
  objection_.clear();
  const bool moves = request_.collective != Collective::all_gather;
  if (moves && (gets_data(place_.rank) || place_.rank == request_.root)) build_executor();
  start_if_all_heard();
}

void Operation::stand_by(SiteSet roster, const Service& service) {
  if (done_) return;
  roster_ = roster;
  service_ = service;
  begun_ = true;
  start_if_all_heard();
}

bool Operation::gets_data(int rank) const {
  if (request_.collective != Collective::hand) return true;
  return rank != request_.root && std::ranges::find(request_.order, rank) != request_.order.end();
}

std::uint64_t Operation::length() const {
  return request_.collective == Collective::hand ? request_.bytes : request_.output.size();
}

// What cannot be done without a site that is out.
Status Operation::impossible() const {
  const bool rooted =
      request_.collective == Collective::broadcast || request_.collective == Collective::hand;
  if (rooted && !roster_.has(request_.root))
    return peer_lost("the root of " + title() + " is lost, and nobody has its bytes",
                     request_.root);
  SiteSet wanted;
  for (const int rank : request_.order) wanted = wanted | SiteSet::of(rank);
  if (request_.collective == Collective::swap && wanted != roster_)
    return peer_lost(title() + " is among sites of which some are lost");
  return {};
}

std::optional<Finished> Operation::finished_here() const {
  if (!done_ || failed_ || request_.collective == Collective::swap) return std::nullopt;
  const bool can_give_again = place_.rank == request_.root && !padded_input_.bytes().empty();
  if (!gets_data(place_.rank) && !can_give_again) return std::nullopt;
  Finished finished{.operation = number(), .contributors = {}, .bytes = length()};
  for (const int rank : outcome().contributors)
    finished.contributors = finished.contributors | SiteSet::of(rank);
  if (request_.collective == Collective::all_gather)
    for (const int rank : outcome().contributors)
      finished.bytes +=
          sizeof(std::uint32_t) + outcome().gathered[static_cast<std::size_t>(rank)].size();
  return finished;
}

bool Operation::fits(const Finished& what) const {
  if (request_.collective != Collective::all_gather) return what.bytes == length();
  const std::uint64_t most = max_gather_bytes + sizeof(std::uint32_t);
  return what.bytes <= most * static_cast<std::uint64_t>(what.contributors.size());
}

ByteView Operation::kept_result() {
  if (!gets_data(place_.rank)) return padded_input_.bytes();
  if (request_.collective != Collective::all_gather) return output_.bytes();
  Writer out;
  for (const int rank : outcome().contributors) {
    const auto& payload = outcome().gathered[static_cast<std::size_t>(rank)];
    out.put(static_cast<std::uint32_t>(payload.size())).put_raw(payload);
  }
  const std::vector<std::byte> bytes = out.take();
  output_ = means_.large.lease(floats_for(bytes.size()) * sizeof(float));
  std::memset(output_.bytes().data(), 0, output_.bytes().size());
  std::memcpy(output_.bytes().data(), bytes.data(), bytes.size());
  return output_.bytes();
}

void Operation::serve(SiteSet roster, const Service& service) {
  ISTHMUS_CHECK(done_ && !failed_ && executor_ == nullptr);
  roster_ = roster;
  service_ = service;
  const ByteView result = kept_result();
  Schedule schedule;
  const Span whole{0, floats_for(service.what.bytes)};
  for (const int rank : service.to.ranks())
    if (whole.count > 0 && gets_data(rank))
      schedule.sends.push_back({position(rank), service_transfer, whole, Source::input, -1});
  build_executor(std::move(schedule), service.what.bytes, result);
}

void Operation::await(SiteSet roster, const Service& service) {
  ISTHMUS_CHECK(!done_ && executor_ == nullptr);
  roster_ = roster;
  service_ = service;
  begun_ = started_ = true;
  const std::uint64_t bytes = service.what.bytes;
  if (output_.bytes().size() != floats_for(bytes) * sizeof(float))
    output_ = means_.large.lease(floats_for(bytes) * sizeof(float));
  Schedule schedule;
  const Span whole{0, floats_for(bytes)};
  if (whole.count > 0)
    schedule.receives.push_back({position(service.from), service_transfer, whole, Role::copy});
  build_executor(std::move(schedule), bytes, output_.bytes());
}

void Operation::build_executor(Schedule schedule, std::uint64_t bytes, ByteView input) {
  const codecs::Codec* f32 = codecs::find("f32");
  Job job{.rank = position(place_.rank),
          .world = roster_.size(),
          .schedule = std::move(schedule),
          .format = Format({{.up = f32, .down = f32, .elements = floats_for(bytes)}}),
          .mean = false,
          .slice_elements = default_slice_elements};
  executor_ = std::make_unique<Executor>(std::move(job), input, output_.floats(), ByteSpan{},
                                         means_.slices, means_.workers);
  executor_->start({});
}

// The payloads by rank; empty, of those that are not in it.
void Operation::take_gathered(Outcome& outcome) {
  outcome.gathered.resize(heard_.size());
  if (!service_) {
    for (const int rank : roster_.ranks()) {
      const auto at = static_cast<std::size_t>(rank);
      outcome.gathered[at] = std::move(heard_[at]->payload);
    }
    return;
  }
  Reader in(ByteView(output_.bytes()).first(service_->what.bytes));
  for (const int rank : service_->what.contributors.ranks()) {
    const ByteView payload = in.get_raw(in.get<std::uint32_t>());
    outcome.gathered[static_cast<std::size_t>(rank)].assign(payload.begin(), payload.end());
  }
}

}  // namespace isthmus
