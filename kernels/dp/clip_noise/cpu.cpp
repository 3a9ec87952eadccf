// Clip and noise on the CPU: the plain form, and the choice between it and the wide one.

#include <algorithm>
#include <cmath>
#include <vector>

#include "dp/clip_noise/box_muller.hpp"
#include "dp/clip_noise/clip_noise.hpp"

namespace isthmus::dp {
namespace {

// Elements that are made and encoded while they are in the nearest cache; a multiple of any block.
constexpr std::size_t piece_elements = 4096;
static_assert(piece_elements % codecs::max_block == 0 && piece_elements % elements_a_call == 0);

double halved(double* sums) {
  for (std::size_t half = square_block / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

double block_squares(const float* x, std::size_t elements) {
  double squares[square_block] = {};
  for (std::size_t i = 0; i < elements; ++i)
    squares[i] = static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return halved(squares);
}

std::vector<double> block_sums(const std::vector<double>& values) {
  std::vector<double> sums;
  sums.reserve(values.size() / square_block + 1);
  for (std::size_t begin = 0; begin < values.size(); begin += square_block) {
    double block[square_block] = {};
    std::copy_n(values.data() + begin, std::min(square_block, values.size() - begin), block);
    sums.push_back(halved(block));
  }
  return sums;
}

}  // namespace

double sum_of_squares(std::span<const float> x) {
  std::vector<double> sums;
  sums.reserve(x.size() / square_block + 1);
  for (std::size_t begin = 0; begin < x.size(); begin += square_block) {
    sums.push_back(block_squares(x.data() + begin, std::min(x.size() - begin, square_block)));
  }
  while (sums.size() > 1) sums = block_sums(sums);
  return sums.empty() ? 0 : sums[0];
}

float factor(double squares, double norm) {
  if (!std::isfinite(squares)) return 0;
  const double length = std::sqrt(squares);
  return length <= norm ? 1 : static_cast<float>(norm / length * (1 - 0x1p-22));
}

void clip_noise(std::span<const float> x, const Noise& noise, std::span<float> out,
                codecs::Isa isa) {
#if defined(__x86_64__)
  const auto fast = isa >= codecs::Isa::avx512 ? clip_noise_avx512 : clip_noise_avx2;
  if (isa >= codecs::Isa::avx2) return fast(x.data(), x.size(), noise, out.data());
#else
  static_cast<void>(isa);
#endif
  clip_noise_portable(x.data(), x.size(), noise, out.data());
}

void encode_noised(const codecs::Codec& codec, const codecs::Source& source, const Noise& noise,
                   std::uint64_t elements, std::span<std::byte> wire, codecs::Isa isa) {
  float noised[piece_elements];
  codecs::write_padding(codec, wire, elements);
  for (std::uint64_t begin = 0; begin < elements; begin += piece_elements) {
    const std::size_t count = std::min<std::uint64_t>(piece_elements, elements - begin);
    Noise here = noise;
    here.place.group += static_cast<std::uint32_t>(begin / elements_a_call);
    clip_noise({source.values + begin, count}, here, {noised, count}, isa);
    codecs::Source part{.values = noised};
    codecs::Feedback feedback{};
    codecs::Dither dither;
    if (source.feedback != nullptr) {
      feedback = *source.feedback;
      const std::size_t bytes = begin * codecs::width_of(feedback.type);
      if (feedback.now != nullptr) feedback.now += bytes;
      feedback.next += bytes;
      part.feedback = &feedback;
    }
    if (source.dither != nullptr) {
      dither = *source.dither;
      dither.group += static_cast<std::uint32_t>(begin / 8);
      part.dither = &dither;
    }
    codecs::encode_part(codec, part, wire, elements, begin, count);
  }
}

}  // namespace isthmus::dp
