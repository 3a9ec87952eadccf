#include "session/operation.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/check.hpp"
#include "codecs/finite.hpp"
#include "collective/choose.hpp"

namespace isthmus {
namespace {

// Of those in the roster: what they had, in proportion.
Shares shares_of(const Shares& shares, SiteSet roster) {
  if (shares.empty()) return {};
  Shares rest;
  for (const int rank : roster.ranks()) rest.push_back(shares[static_cast<std::size_t>(rank)]);
  return whole(rest);
}

// Those of the roster in the order that all had, by place.
Order order_of(const Order& order, SiteSet roster) {
  Order rest;
  for (const int rank : order)
    if (roster.has(rank)) rest.push_back(static_cast<std::uint16_t>(roster.place_of(rank)));
  return rest;
}

}  // namespace

Operation::Operation(std::shared_ptr<Work> work, Request request, Place place, Means means)
    : work_(std::move(work)),
      request_(std::move(request)),
      place_(place),
      means_(means),
      mine_(announcement_of(request_)),
      heard_(static_cast<std::size_t>(place.world)) {
  heard_[static_cast<std::size_t>(place.rank)] = mine_;
}

Operation::~Operation() {
  end_computing();
}

// What the workers have of this operation is memory that is about to be somebody else's.
void Operation::end_computing() {
  if (executor_ != nullptr && executor_->computing()) means_.workers.drain();
}

void Operation::build_executor() {
  std::vector<Segment> segments = request_.segments;
  ByteView input = request_.input;
  const bool bytes = moves_bytes(request_.collective);
  const bool has_input = request_.collective == Collective::swap || place_.rank == request_.root;
  if (bytes) {
    // Bytes travel as float32 that nobody computes with, padded to whole elements.
    const codecs::Codec* f32 = codecs::find("f32");
    const std::uint64_t elements = (length() + sizeof(float) - 1) / sizeof(float);
    segments = {{.up = f32, .down = f32, .elements = elements}};
  }
  Format format(std::move(segments));
  if (output_.bytes().empty()) output_ = means_.large.lease(format.elements() * sizeof(float));
  if (bytes && has_input && padded_input_.bytes().empty()) {
    padded_input_ = means_.large.lease(format.input_bytes());
    std::memset(padded_input_.bytes().data(), 0, padded_input_.bytes().size());
    std::memcpy(padded_input_.bytes().data(), request_.output.data(), request_.output.size());
  }
  // Others have no input, and their schedule reads none.
  if (bytes) input = has_input ? padded_input_.bytes() : output_.bytes();
  Job job = job_of(std::move(format));
  if (job.terms && terms_.bytes().empty()) terms_ = means_.large.lease(job.terms->bytes());
  executor_ = std::make_unique<Executor>(std::move(job), input, output_.floats(), terms_.bytes(),
                                         means_.slices, means_.workers);
}

Job Operation::job_of(Format format) const {
  const bool rooted =
      request_.collective == Collective::broadcast || request_.collective == Collective::hand;
  const int world = roster_.size();
  const Shape shape{.rank = position(place_.rank),
                    .world = world,
                    .stretches = format.stretches(),
                    .shares = shares_of(request_.shares, roster_),
                    .order = order_of(request_.order, roster_)};
  const bool gathers_terms = request_.terms && request_.algorithm == Algorithm::gather;
  Job job{.rank = shape.rank,
          .world = world,
          .schedule = gathers_terms
                          ? gather_terms(shape)
                          : make_schedule(request_.algorithm, shape,
                                          rooted ? position(request_.root) : request_.root),
          .format = std::move(format),
          .mean = request_.mean && request_.collective == Collective::all_reduce,
          .slice_elements = request_.slice_elements};
  if (request_.terms) job.terms = terms_of(request_.algorithm, world, job.format);
  return job;
}

std::uint64_t Operation::elements_to_reduce() const {
  const auto add = [](std::uint64_t sum, const SegmentName& s) { return sum + s.elements; };
  return std::accumulate(mine_.segments.begin(), mine_.segments.end(), std::uint64_t{0}, add);
}

void Operation::heard(int peer, Announcement theirs) {
  heard_[static_cast<std::size_t>(peer)] = std::move(theirs);
  start_if_all_heard();
}

// Sums begin when all weights are known; what comes before is kept, and inputs leave at once.
void Operation::start_if_all_heard() {
  if (!begun_ || started_ ||
      !std::ranges::all_of(roster_.ranks(), [this](int rank) { return has_heard(rank); }))
    return;
  started_ = true;
  if (executor_ == nullptr) return;
  std::vector<float> weights;
  for (const int rank : roster_.ranks())
    weights.push_back(heard_[static_cast<std::size_t>(rank)]->weight);
  const float total = std::accumulate(weights.begin(), weights.end(), 0.0f);
  if (mine_.mean != 0 && (!(total > 0) || !std::isfinite(total))) {
    objection_ = "the weights of all sites add up to " + std::to_string(total);
    return;
  }
  executor_->start(std::move(weights));
}

std::optional<OutSlice> Operation::next(int peer, First first) {
  if (!has_next(peer)) return std::nullopt;
  return executor_->next(position(peer), first);
}

bool Operation::has_next(int peer) const {
  return executor_ != nullptr && !failed_ && roster_.has(peer) &&
         executor_->has_next(position(peer));
}

void Operation::sent(const OutSlice& slice) {
  if (executor_ != nullptr && !failed_) executor_->sent(slice);
}

Status Operation::no_data_here(int peer) const {
  return wire_error("it sent data for " + title() + ", which has none", peer);
}

Result<ByteSpan> Operation::place(int peer, SliceId id, std::uint64_t bytes) {
  if (executor_ == nullptr) return no_data_here(peer);
  return executor_->place(position(peer), id, bytes);
}

Status Operation::arrived(int peer, SliceId id) {
  return executor_->arrived(position(peer), id);
}

Status Operation::take(int peer, SliceId id, Buffer wire, std::uint64_t bytes) {
  if (executor_ == nullptr) return no_data_here(peer);
  return executor_->take(position(peer), id, std::move(wire), bytes);
}

bool Operation::ready() const {
  return begun_ && started_ && !done_ && objection_.empty() &&
         (executor_ == nullptr || (executor_->output_ready() && executor_->input_free()));
}

void Operation::complete() {
  ISTHMUS_CHECK(ready());
  Outcome outcome;
  if (executor_ != nullptr) {
    if (const Status& health = executor_->health(); !health.ok()) return fail(health);
  }
  if (request_.collective != Collective::all_gather && executor_ != nullptr) {
    outcome.term_sum = executor_->term_sum();
    outcome.finite = hand_over();
  }
  outcome.contributors = (service_ ? service_->what.contributors : roster_).ranks();
  if (request_.collective == Collective::all_gather) take_gathered(outcome);
  done_ = true;
  work_->finish(std::move(outcome));
}

// Returns whether no element of an all-reduce's result is infinite or not a number.
bool Operation::hand_over() {
  if (request_.collective == Collective::all_reduce && !request_.terms) {
    return codecs::copy_finite(output_.floats(), request_.output.data());
  }
  if (!gets_data(place_.rank)) return true;
  const ByteView result = request_.terms ? terms_.bytes() : output_.bytes();
  std::memcpy(request_.output.data(), result.data(), request_.output.size());
  return true;
}

void Operation::fail(const Status& status) {
  if (done_) return;
  end_computing();
  done_ = failed_ = true;
  work_->finish({.status = status});
}

bool Operation::finished() const {
  return done_ && (failed_ || executor_ == nullptr || executor_->finished());
}

bool Operation::waits_for(int peer) const {
  if (done_ || !roster_.has(peer)) return false;
  return !has_heard(peer) || (executor_ != nullptr && executor_->waits_for(position(peer)));
}

std::string Operation::title() const {
  return std::string(name_of(request_.collective)) + " #" + std::to_string(number());
}

std::string Operation::waiting(const std::vector<std::string>& sites) const {
  std::string silent, slow;
  const auto append = [](std::string& list, const std::string& site) {
    list += (list.empty() ? "" : ", ") + ("\"" + site + "\"");
  };
  for (const int peer : roster_.ranks()) {
    const std::string& site = sites[static_cast<std::size_t>(peer)];
    if (!has_heard(peer))
      append(silent, site);
    else if (peer != place_.rank && executor_ != nullptr && executor_->waits_for(position(peer)))
      append(slow, site);
  }
  if (!silent.empty()) return "site " + silent + " has not begun it";
  if (!slow.empty()) return "data of site " + slow + " has not come";
  return "";
}

}  // namespace isthmus
