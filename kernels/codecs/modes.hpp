// What an encoder is asked for, as types: so that a fast implementation is made once for each
// combination, without a test in its loop.
#pragma once

#include "codecs/codec.hpp"

namespace isthmus::codecs {

// first: residuals are written but were zeros.
enum class FeedbackMode { none, first_f32, f32, first_bf16, bf16 };

template <FeedbackMode feedback_, bool dithered_>
struct EncodeMode {
  static constexpr FeedbackMode feedback = feedback_;
  static constexpr bool dithered = dithered_;
};

// A source's memory as plain values: a loop that writes memory would read them anew from a Source.
struct Streams {
  const float* values;
  const std::byte* now;
  std::byte* next;
  float beta;
};

inline Streams streams_of(const Source& from) {
  if (from.feedback == nullptr) return {from.values, nullptr, nullptr, 0};
  return {from.values, from.feedback->now, from.feedback->next, from.feedback->beta};
}

inline FeedbackMode feedback_mode(const Source& from) {
  if (from.feedback == nullptr) return FeedbackMode::none;
  const bool first = from.feedback->now == nullptr;
  if (from.feedback->type == ResidualType::f32) {
    return first ? FeedbackMode::first_f32 : FeedbackMode::f32;
  }
  return first ? FeedbackMode::first_bf16 : FeedbackMode::bf16;
}

template <class Encoder, bool dithered>
void encode_in_mode(const Source& from, Extent extent, const Wire& to) {
  using enum FeedbackMode;
  switch (feedback_mode(from)) {
    case none:
      return Encoder::template run<EncodeMode<none, dithered>>(from, extent, to);
    case first_f32:
      return Encoder::template run<EncodeMode<first_f32, dithered>>(from, extent, to);
    case f32:
      return Encoder::template run<EncodeMode<f32, dithered>>(from, extent, to);
    case first_bf16:
      return Encoder::template run<EncodeMode<first_bf16, dithered>>(from, extent, to);
    case bf16:
      return Encoder::template run<EncodeMode<bf16, dithered>>(from, extent, to);
  }
}

}  // namespace isthmus::codecs
