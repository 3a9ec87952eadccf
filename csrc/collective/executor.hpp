// Executor: runs one rank's Schedule over slices, without I/O, clock or threads.
//
// Whoever owns it moves bytes: next() hands out the next slice for a peer, place() says where a
// coming slice goes, arrived() takes it. The format cuts a transfer's span into slices, so both
// ends agree on them; on the wire a slice is its codec's wire of its elements standing alone.
// Slices of a peer may come in any order, and several may be on their way in at once.
//
// What a peer does is refused with a Status, never trusted and never fatal; what the owner does
// wrong is a broken promise. Not safe for use by several threads.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "base/slice_buffers.hpp"
#include "base/status.hpp"
#include "collective/terms.hpp"
#include "collective/workers.hpp"

namespace isthmus {

// A slice's place in the flow: transfer number and first element counted from the transfer's
// beginning.
struct SliceId {
  std::uint32_t transfer = 0;
  std::uint64_t offset = 0;
  friend bool operator==(const SliceId&, const SliceId&) = default;
};

struct OutSlice {
  SliceId id;
  int pieces = 0;
  std::array<ByteView, codecs::max_sections> bytes{};  // valid until sent() or the executor's end
  bool of_input = false;                               // its bytes are the caller's input
  int send = -1;                                       // for sent()
  std::size_t slice = 0;                               // for sent()
  std::uint64_t elements = 0;
};

// Which slices leave first where both are ready. Inputs: the last of them is on its way sooner, and
// two one-way delays end sooner. Sums: they are still in a cache, and there is no delay.
enum class First : std::uint8_t { inputs, sums };

// REQUIRES: the schedule was made for this rank, world, and the format's stretches; where terms are
// gathered, by gather_terms().
struct Job {
  int rank;
  int world;
  Schedule schedule;
  Format format;
  bool mean;                     // divide by the sum of the weights
  std::uint32_t slice_elements;  // a multiple of all granules
  std::optional<Terms> terms{};  // keep them instead of their sum
  // Smaller slices, and those that are only added, take less time than handing them to workers.
  std::uint32_t least_work_elements = 8 << 10;
};

class Executor {
 public:
  // `input` is this rank's wire (format.input_bytes()); it must stay until input_free().
  // `output` receives the result and is written from the beginning on: keep it apart from `input`.
  // `terms`: where job.terms go; the output is then room for sums on their way, no result.
  // `buffers` and `workers` must outlive the executor, which must not end while computing().
  // REQUIRES: output.size() == elements; terms has room for job.terms.
  Executor(Job job, ByteView input, std::span<float> output, ByteSpan terms, SliceBuffers& buffers,
           Workers& workers);
  ~Executor();

  // Sums begin: now all weights are known. By rank; empty: all 1. For a mean, equal weights count
  // as 1 each: the result is (x0 + x1 + ...) / world to the bit, and over one site x itself. Slices
  // may leave, come and be kept before; one of those that is malformed shows in health(). Call
  // once. REQUIRES: for a mean, the weights are finite and their sum is above zero.
  void start(std::vector<float> weights);

  // The first failure: what arrived() returned, or that this rank's own input is malformed. Final:
  // the operation can no longer end well.
  const Status& health() const;

  // The next slice that is ready for `peer`, or nothing. A slice is handed out once.
  std::optional<OutSlice> next(int peer, First first = First::inputs);
  bool has_next(int peer) const;
  // The slice's bytes are read no more. Once for each slice that next() gave.
  void sent(const OutSlice& slice);

  // Where the `bytes` of a coming slice go; the memory is the caller's to write until arrived(). A
  // slice that is not expected, comes twice, or has another size is a wire_error that names what is
  // wrong, and changes nothing.
  Result<ByteSpan> place(int peer, SliceId id, std::uint64_t bytes);
  // The bytes are there: checks, has them added or decoded, and makes further slices ready, now or
  // when the workers are done. A failure is about this slice.
  Status arrived(int peer, SliceId id);
  // Both in one, of a slice that came before the executor was there and lies in a buffer of its
  // pool.
  Status take(int peer, SliceId id, Buffer wire, std::uint64_t bytes);

  bool output_ready() const;        // every element of the output, or byte of the terms, stands
  const TermSum& term_sum() const;  // what the terms make together; once started
  bool input_free() const;          // the input is read no more
  bool finished() const;            // output ready and everything sent
  bool waits_for(int peer) const;   // a slice of that peer is still to come
  bool computing() const;           // the workers have something of it

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace isthmus
