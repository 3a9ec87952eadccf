// The executor's sums, slice by slice.
#include <algorithm>

#include "collective/executor_state.hpp"

namespace isthmus {
namespace {

std::size_t index(int value) {
  return static_cast<std::size_t>(value);
}

}  // namespace

bool Executor::State::has_term(int term, std::size_t slice) const {
  return term == Sum::own_input || incoming_[index(term)].slices[slice].stage == Stage::arrived;
}

// The end of the run of terms that can be added now. An own term at the beginning waits for the
// term after it: one pass over the memory instead of two.
std::size_t Executor::State::terms_at_hand(const Adding& adding, std::size_t slice) const {
  const std::vector<int>& terms = adding.what.terms;
  const std::size_t begin = adding.slices[slice].added;
  std::size_t end = begin;
  while (end < terms.size() && has_term(terms[end], slice)) ++end;
  const bool own_alone = end == 1 && begin == 0 && terms[0] == Sum::own_input;
  return own_alone && terms.size() > 1 ? begin : end;
}

void Executor::State::advance(int number, std::size_t slice) {
  Adding& adding = sums_[index(number)];
  SumSlice& sum = adding.slices[slice];
  if (sum.adding) return;
  const std::size_t end = terms_at_hand(adding, slice);
  if (end == sum.added) return;
  sum.adding = true;
  std::vector<Addend> addends;
  for (std::size_t i = sum.added; i < end; ++i) {
    addends.push_back(addend(adding.what.terms[i], sum, slice));
    if (adding.what.kind == Sum::Kind::copy) addends.back().weight = 1;
  }
  compute(
      sum.slice,
      [work = accumulation(adding, slice, end), addends = std::move(addends),
       into = output_of(sum.slice)]() mutable {
        work.addends = addends;
        accumulate(work, into);
      },
      [this, number, slice, end] { added(number, slice, end); });
}

void Executor::State::added(int number, std::size_t slice, std::size_t end) {
  Adding& adding = sums_[index(number)];
  SumSlice& sum = adding.slices[slice];
  release_terms(adding, slice, end);
  sum.adding = false;
  sum.added = end;
  if (end == adding.what.terms.size()) return finish_sum(adding, slice);
  advance(number, slice);
}

// The last terms also bring the division and the sum's own wire, in the same pass.
Accumulation Executor::State::accumulation(Adding& adding, std::size_t number, std::size_t end) {
  SumSlice& sum = adding.slices[number];
  const Slice& slice = sum.slice;
  const bool last = end == adding.what.terms.size();
  const bool weighted = adding.what.kind != Sum::Kind::copy;
  const bool divided = weighted && adding.what.kind != Sum::Kind::partial && last;
  Accumulation work{.codec = job_.format.segment(slice).up,
                    .addends = {},
                    .begins = sum.added == 0,
                    .divisor = divided ? divisor_ : 1.0F};
  const codecs::Codec& codec = codec_of(adding.what, slice);
  if (last && !adding.sends.empty() && !codec.identity) {
    sum.buffer = buffers_.take(buffer_bytes_);
    work.encode_with = &codec;
    work.wire = {sum.buffer.get(), wire_bytes(codec, slice)};
    // What the others will decode is this rank's result too.
    work.as_decoded = adding.what.kind == Sum::Kind::total;
  }
  return work;
}

Addend Executor::State::addend(int term, SumSlice& sum, std::size_t number) {
  if (term == Sum::own_input) return {own_wire(sum), weights_[index(job_.rank)]};
  const Slice& slice = sum.slice;
  const Incoming& incoming = incoming_[index(term)];
  const InSlice& in = incoming.slices[number];
  const ByteView wire =
      in.in_output ? std::as_bytes(output_of(slice))
                   : ByteView(in.buffer.get(), wire_bytes(codec_of(incoming.what, slice), slice));
  const bool weighted_already = incoming.what.role == Role::partial;
  return {wire, weighted_already ? 1.0F : weights_[index(incoming.what.peer)]};
}

// The own input's wire of the slice, standing alone.
ByteView Executor::State::own_wire(SumSlice& sum) {
  std::array<codecs::Piece, codecs::max_sections> pieces;
  const int count = job_.format.pieces(sum.slice, pieces);
  if (count == 1) return input_.subspan(pieces[0].offset, pieces[0].bytes);
  sum.own_wire = buffers_.take(buffer_bytes_);
  std::size_t at = 0;
  for (std::size_t i = 0; i < index(count); ++i) {
    const ByteView piece = input_.subspan(pieces[i].offset, pieces[i].bytes);
    std::copy(piece.begin(), piece.end(), sum.own_wire.get() + at);
    at += piece.size();
  }
  return {sum.own_wire.get(), at};
}

void Executor::State::release_terms(Adding& adding, std::size_t slice, std::size_t end) {
  for (std::size_t i = adding.slices[slice].added; i < end; ++i) {
    const int term = adding.what.terms[i];
    if (term == Sum::own_input) {
      --input_slices_to_add_;
      adding.slices[slice].own_wire.reset();
    } else {
      incoming_[index(term)].slices[slice].buffer.reset();
    }
  }
}

ByteView Executor::State::wire_of(const Adding& adding, const SumSlice& sum) const {
  if (!sum.buffer) return std::as_bytes(output_of(sum.slice));
  return {sum.buffer.get(), wire_bytes(codec_of(adding.what, sum.slice), sum.slice)};
}

void Executor::State::finish_sum(Adding& adding, std::size_t number) {
  SumSlice& sum = adding.slices[number];
  sum.readers = static_cast<int>(adding.sends.size());
  if (adding.what.kind != Sum::Kind::partial) {
    if (job_.terms) keep_term(job_.rank, sum.slice, wire_of(adding, sum));
    elements_to_finish_ -= sum.slice.span.count;
  }
  make_ready(adding.sends, number);
}

}  // namespace isthmus
