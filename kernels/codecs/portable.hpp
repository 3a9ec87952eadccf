// The plain implementation of a codec's kernels, from what happens to one block.
//
// Block gives: size, and
//   static void encode(const float* p, std::uint32_t filled, const float* units, const Wire& to);
//   static void decode(const ConstWire& from, float* out);
//   static W at(const W& wire, std::size_t block);   // where a block lies, for Wire and ConstWire
// `units`: for stochastic rounding a number in [0, 1) for each element; null: to nearest.
#pragma once

#include <array>

#include "codecs/scale.hpp"
#include "rng/philox.hpp"

namespace isthmus::codecs::portable {

inline float residual_at(const Feedback& feedback, std::size_t i) {
  return feedback.type == ResidualType::f32 ? load_at<float>(feedback.now, i)
                                            : value_of(load_at<Bf16>(feedback.now, i));
}

inline void keep_residual(const Feedback& feedback, std::size_t i, float left) {
  if (feedback.type == ResidualType::f32) {
    store_at(feedback.next, i, left);
  } else {
    store_at(feedback.next, i, nearest_bf16(left));
  }
}

inline void draw(const Dither& dither, std::size_t first, std::span<float> units) {
  for (std::size_t i = 0; i < units.size(); ++i) {
    const std::size_t element = first + i;
    const auto words = rng::philox({dither.group + static_cast<std::uint32_t>(element / 8),
                                    dither.step, dither.bucket, dither.stream},
                                   dither.key);
    const std::uint32_t half = (words[element % 8 / 2] >> (element % 2 * 16)) & 0xffffU;
    units[i] = static_cast<float>(half) * 0x1p-16F;
  }
}

template <class Block>
void encode(const Source& from, Extent extent, const Wire& to) {
  std::array<float, Block::size> p, units, decoded;
  for (std::size_t block = 0; block < extent.blocks; ++block) {
    const std::size_t begin = block * Block::size;
    for (std::size_t i = 0; i < p.size(); ++i) {
      p[i] = from.values[begin + i];
      if (from.feedback != nullptr && from.feedback->now != nullptr) {
        p[i] += from.feedback->beta * residual_at(*from.feedback, begin + i);
      }
    }
    if (from.dither != nullptr) draw(*from.dither, begin, units);
    const Wire wire = Block::at(to, block);
    Block::encode(p.data(), extent.filled, from.dither != nullptr ? units.data() : nullptr, wire);
    if (from.feedback == nullptr) continue;
    Block::decode({{wire.at[0], wire.at[1], wire.at[2]}}, decoded.data());
    for (std::size_t i = 0; i < p.size(); ++i) {
      keep_residual(*from.feedback, begin + i, p[i] - decoded[i]);
    }
  }
}

template <class Block>
void decode(const ConstWire& from, std::size_t blocks, float* out) {
  for (std::size_t block = 0; block < blocks; ++block) {
    Block::decode(Block::at(from, block), out + block * Block::size);
  }
}

template <class Block>
void decode_add(const ConstWire& from, std::size_t blocks, float weight, float* sum) {
  std::array<float, Block::size> decoded;
  for (std::size_t block = 0; block < blocks; ++block) {
    Block::decode(Block::at(from, block), decoded.data());
    for (std::size_t i = 0; i < decoded.size(); ++i) {
      sum[block * Block::size + i] += weight * decoded[i];
    }
  }
}

}  // namespace isthmus::codecs::portable
