// How a slice goes through the house:
//
//   input ──────────────────────────────────────────▶ next() ▶ sent()
//   place() ▶ arrived() ▶ term    ▶ its slice of the sum ▶ next() ▶ sent()
//                       ▶ result  ▶ output, and perhaps  ▶ next() ▶ sent()
//
// A slice is the unit of everything: the i-th slice of a sum needs the i-th slices of its terms and
// nothing else, and once they are in, it is divided, encoded and ready to send while later slices
// are still on their way. Terms are added strictly in the order of the schedule, so that the bits
// do not depend on who was fast; a term that comes early stays in its buffer. The own input is
// added together with the term after it, in one pass over the memory.
//
// Decoding, adding and encoding a slice is one piece of work, which the workers may do on other
// threads: the piece is made with all that it reads and writes, and while it is under way nobody
// else looks there. A sum has one at a time, so its terms stay in order.
//
// The accumulator of a sum is the output's own memory: a rank's sums and its results never want the
// same elements at the same time, because the result of a chunk can only come after every rank has
// passed its partial sum on. With an identity codec the first term and all results are received
// straight into the output and sent from it; otherwise wires lie in buffers that return to a
// free-list as soon as nobody reads them.
//
// Where the caller wants terms, results and totals are not decoded: their wires are put together in
// the caller's order, and inputs that would be summed are kept as they come.
//
// The owner pulls: next() takes one slice for one peer, so a slow peer holds up nobody else. Inputs
// are ready from the beginning and are walked by a cursor; only sums and results that became ready
// stand in a queue. Which of the two goes first is the owner's to say.
#include "collective/executor.hpp"

#include "base/check.hpp"
#include "collective/executor_state.hpp"

namespace isthmus {

Executor::Executor(Job job, ByteView input, std::span<float> output, ByteSpan terms,
                   SliceBuffers& buffers, Workers& workers)
    : state_(std::make_unique<State>(std::move(job), input, output, terms, buffers, workers)) {}

Executor::~Executor() = default;

void Executor::start(std::vector<float> weights) {
  state_->start(std::move(weights));
}
const Status& Executor::health() const {
  return state_->health();
}
std::optional<OutSlice> Executor::next(int peer, First first) {
  return state_->next(peer, first);
}
bool Executor::has_next(int peer) const {
  return state_->has_next(peer);
}
void Executor::sent(const OutSlice& slice) {
  state_->sent(slice);
}

Result<ByteSpan> Executor::place(int peer, SliceId id, std::uint64_t bytes) {
  return state_->place(peer, id, bytes);
}

Status Executor::arrived(int peer, SliceId id) {
  return state_->arrived(peer, id);
}
Status Executor::take(int peer, SliceId id, Buffer wire, std::uint64_t bytes) {
  return state_->take(peer, id, std::move(wire), bytes);
}
const TermSum& Executor::term_sum() const {
  return state_->term_sum();
}
bool Executor::output_ready() const {
  return state_->output_ready();
}
bool Executor::input_free() const {
  return state_->input_free();
}
bool Executor::finished() const {
  return state_->finished();
}
bool Executor::waits_for(int peer) const {
  return state_->waits_for(peer);
}
bool Executor::computing() const {
  return state_->computing();
}

}  // namespace isthmus
