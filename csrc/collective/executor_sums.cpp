// The executor's sums, slice by slice.
#include <algorithm>

#include "collective/executor_state.hpp"

namespace isthmus {
namespace {

std::size_t index(int value) {
  return static_cast<std::size_t>(value);
}

}  // namespace

const codecs::Codec& Executor::State::codec_of(const Sum& sum) const {
  return sum.kind == Sum::Kind::total ? *job_.down : *job_.up;
}

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

Status Executor::State::advance(int sum, std::size_t slice) {
  Adding& adding = sums_[index(sum)];
  const std::size_t end = terms_at_hand(adding, slice);
  if (end == adding.slices[slice].added) return {};
  if (Status added = add_terms(adding, slice, end); !added.ok()) return fail(added);
  release_terms(adding, slice, end);
  adding.slices[slice].added = end;
  if (end < adding.what.terms.size()) return {};
  Status finished = finish_sum(adding, slice);
  return finished.ok() ? finished : fail(finished);
}

Status Executor::State::add_terms(Adding& adding, std::size_t slice, std::size_t end) {
  const std::vector<int>& terms = adding.what.terms;
  const std::size_t begin = adding.slices[slice].added;
  const Span span = slice_of(adding.what.span, slice);
  const bool weighted = adding.what.kind != Sum::Kind::copy;
  const bool divided = weighted && adding.what.kind != Sum::Kind::partial && end == terms.size();
  addends_.clear();
  for (std::size_t i = begin; i < end; ++i) {
    addends_.push_back(addend(terms[i], span, slice));
    if (!weighted) addends_.back().weight = 1;
  }
  const int failed = accumulate({.codec = job_.up,
                                 .addends = addends_,
                                 .begins = begin == 0,
                                 .divisor = divided ? divisor_ : 1.0F},
                                output_of(span));
  if (failed == all_added) return {};
  const int term = terms[begin + index(failed)];
  const std::string what = ": malformed as " + std::string(job_.up->name) + " at elements [" +
                           std::to_string(span.begin) + ", " +
                           std::to_string(span.begin + span.count) + ")";
  if (term == Sum::own_input) return refused("this rank's input" + what, job_.rank);
  const int peer = incoming_[index(term)].what.peer;
  return wire_error("a term from rank " + std::to_string(peer) + what, peer);
}

Addend Executor::State::addend(int term, Span span, std::size_t slice) {
  if (term == Sum::own_input) return {own_wire(span), weights_[index(job_.rank)]};
  const Incoming& incoming = incoming_[index(term)];
  const Buffer& buffer = incoming.slices[slice].buffer;
  const ByteView wire = incoming.in_output ? std::as_bytes(output_of(span))
                                           : ByteView(buffer.get(), wire_bytes(*job_.up, span));
  const bool weighted_already = incoming.what.role == Role::partial;
  return {wire, weighted_already ? 1.0F : weights_[index(incoming.what.peer)]};
}

// The own input's wire of the span, standing alone.
ByteView Executor::State::own_wire(Span span) {
  std::array<codecs::Piece, codecs::max_sections> pieces;
  const int count = codecs::pieces(*job_.up, job_.elements, span.begin, span.count, pieces);
  if (count == 1) return input_.subspan(pieces[0].offset, pieces[0].bytes);
  if (!own_wire_) own_wire_ = buffers_.take();
  std::size_t at = 0;
  for (std::size_t i = 0; i < index(count); ++i) {
    const ByteView piece = input_.subspan(pieces[i].offset, pieces[i].bytes);
    std::copy(piece.begin(), piece.end(), own_wire_.get() + at);
    at += piece.size();
  }
  return {own_wire_.get(), at};
}

void Executor::State::release_terms(const Adding& adding, std::size_t slice, std::size_t end) {
  for (std::size_t i = adding.slices[slice].added; i < end; ++i) {
    const int term = adding.what.terms[i];
    if (term == Sum::own_input) {
      --input_slices_to_add_;
    } else {
      buffers_.give_back(std::move(incoming_[index(term)].slices[slice].buffer));
    }
  }
}

Status Executor::State::finish_sum(Adding& adding, std::size_t number) {
  SumSlice& slice = adding.slices[number];
  const Span span = slice_of(adding.what.span, number);
  const std::span<float> sum = output_of(span);
  const codecs::Codec& codec = codec_of(adding.what);
  slice.readers = static_cast<int>(adding.sends.size());
  if (slice.readers > 0 && !codec.identity) {
    slice.buffer = buffers_.take();
    const ByteSpan wire(slice.buffer.get(), wire_bytes(codec, span));
    codecs::encode(codec, sum, wire);
    // What the others will decode is this rank's result too.
    const bool total = adding.what.kind == Sum::Kind::total;
    if (total && !codecs::decode(codec, wire, sum)) {
      return internal_error(std::string(codec.name) + " cannot read its own wire");
    }
  }
  if (adding.what.kind != Sum::Kind::partial) elements_to_finish_ -= span.count;
  make_ready(adding.sends, number);
  return {};
}

}  // namespace isthmus
