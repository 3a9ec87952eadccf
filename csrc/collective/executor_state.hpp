// Executor::State: what the executor remembers of each slice. Private to executor*.cpp.
#pragma once

#include <deque>

#include "base/slice_buffers.hpp"
#include "collective/accumulate.hpp"
#include "collective/executor.hpp"

namespace isthmus {

class Executor::State {
 public:
  State(Job job, ByteView input, std::span<float> output, ByteSpan terms, SliceBuffers& buffers,
        Workers& workers);

  void start(std::vector<float> weights);
  const Status& health() const { return health_; }

  std::optional<OutSlice> next(int peer, First first);
  bool has_next(int peer) const;
  void sent(const OutSlice& slice);

  Result<ByteSpan> place(int peer, SliceId id, std::uint64_t bytes);
  Status arrived(int peer, SliceId id);
  Status take(int peer, SliceId id, Buffer wire, std::uint64_t bytes);

  bool output_ready() const { return elements_to_finish_ == 0; }
  const TermSum& term_sum() const { return term_sum_; }
  bool input_free() const { return input_slices_to_send_ == 0 && input_slices_to_add_ == 0; }
  bool finished() const { return output_ready() && slices_to_send_ == 0; }
  bool waits_for(int peer) const;
  bool computing() const { return works_under_way_ > 0; }

 private:
  enum class Stage : std::uint8_t { awaited, placed, arrived };

  struct InSlice {
    Slice slice;
    bool in_output = false;  // its bytes go straight into the output
    Buffer buffer{};         // none: the bytes are in the output
    int readers = 0;         // sends that have not passed it on yet
    Stage stage = Stage::awaited;
  };
  struct SumSlice {
    Slice slice;
    Buffer buffer{};  // the encoded sum; none: it is in the output
    int readers = 0;
    std::size_t added = 0;  // terms
    bool adding = false;    // more of them, just now
    Buffer own_wire{};      // an own term that lies in several pieces, put together
  };
  struct Incoming {
    Receive what;
    int sum = -1;              // that it is a term of
    std::vector<int> sends{};  // that pass it on
    std::vector<InSlice> slices{};
  };
  struct Adding {
    Sum what;
    std::vector<int> sends{};
    std::vector<SumSlice> slices{};
  };
  struct Ready {
    int send;
    std::size_t slice;
  };
  struct Waiting {  // a slice of the input that has not left
    int send;
    Slice slice;
  };
  struct Peer {
    std::vector<int> receives;  // by transfer; -1: there is none of that number
    std::uint64_t slices_to_come = 0;
    std::vector<Waiting> inputs;  // slices of this rank's input, walked in order
    std::size_t input = 0;
    std::deque<Ready> ready;
  };
  struct Position {  // of a coming slice
    int number;      // in incoming_
    Incoming* incoming;
    std::size_t index;
    InSlice& slice() const { return incoming->slices[index]; }
  };

  // Construction (executor_state.cpp).
  void add_receives();
  void add_sums();
  void add_sends();
  void begin_weights(std::vector<float> weights);

  // Slices.
  std::vector<Slice> slices_of(Span span) const {
    return job_.format.cut(span, job_.slice_elements);
  }
  std::span<float> output_of(const Slice& slice) const {
    return output_.subspan(slice.span.begin, slice.span.count);
  }
  const codecs::Codec& codec_of(const Receive& receive, const Slice& slice) const;
  const codecs::Codec& codec_of(const Sum& sum, const Slice& slice) const;
  static std::uint64_t wire_bytes(const codecs::Codec& codec, const Slice& slice) {
    return codecs::wire_size(codec, slice.span.count);
  }
  // Whether the terms are the inputs, and not what the owners made of them.
  bool gathers_terms() const { return job_.terms && job_.terms->count == job_.world; }
  void compute(const Slice& slice, Workers::Call work, Workers::Call then);
  void keep_term(int peer, const Slice& slice, ByteView wire);

  // Sending.
  OutSlice out_slice(const Waiting& waiting) const;
  OutSlice out_slice(const Ready& ready) const;
  void make_ready(const std::vector<int>& sends, std::size_t slice);

  // Receiving.
  Result<Position> find(int peer, SliceId id);
  Result<Position> expect(int peer, SliceId id, std::uint64_t bytes);
  Status fail(Status status);
  Status check_form(const Position& position, SliceId id);
  void take_result(int incoming, std::size_t slice);
  void result_stands(Incoming& incoming, std::size_t slice);

  // Adding (executor_sums.cpp).
  bool has_term(int term, std::size_t slice) const;
  std::size_t terms_at_hand(const Adding& adding, std::size_t slice) const;
  Addend addend(int term, SumSlice& sum, std::size_t index);
  ByteView own_wire(SumSlice& sum);
  void advance(int sum, std::size_t slice);
  Accumulation accumulation(Adding& adding, std::size_t slice, std::size_t end);
  void added(int sum, std::size_t slice, std::size_t end);
  void release_terms(Adding& adding, std::size_t slice, std::size_t end);
  ByteView wire_of(const Adding& adding, const SumSlice& sum) const;
  void finish_sum(Adding& adding, std::size_t slice);

  Job job_;
  ByteView input_;
  std::span<float> output_;
  ByteSpan terms_;
  TermSum term_sum_;
  bool started_ = false;
  std::vector<float> weights_;  // by rank
  float divisor_ = 1;           // 1: none
  SliceBuffers& buffers_;
  const std::size_t buffer_bytes_;
  Workers& workers_;
  std::uint64_t works_under_way_ = 0;

  std::vector<Incoming> incoming_;
  std::vector<Adding> sums_;
  std::vector<Peer> peers_;

  std::uint64_t elements_to_finish_ = 0;
  std::uint64_t slices_to_send_ = 0;
  std::uint64_t input_slices_to_send_ = 0;
  std::uint64_t input_slices_to_add_ = 0;
  Status health_;
};

}  // namespace isthmus
