// topk: the k elements of largest magnitude of every 4096. For the sources of this folder only.
//
// Which are kept is the selector's affair, and may be fast or plain; the rest is here.
#pragma once

#include "codecs/integers.hpp"
#include "codecs/moments.hpp"

namespace isthmus::codecs::sparse {

inline constexpr std::uint32_t block_elements = 4096;
inline constexpr std::uint32_t most_kept = 128;

enum class Values : std::uint8_t { int2, int8 };

template <std::uint32_t k_, Values values_>
struct Variant {
  static constexpr std::uint32_t k = k_;
  static constexpr Values values = values_;
  static constexpr std::uint32_t index_bytes = k / 2 * 3;  // 12 bits each
  static constexpr std::uint32_t value_bytes = values == Values::int2 ? k / 4 : k;
};

// Ascending places of what is kept, and room for a register's width behind them.
struct Kept {
  std::array<std::uint16_t, most_kept + 16> at;
};

template <class V, class W>
W at_block(const W& wire, std::size_t block) {
  return {{wire.at[0] + block * sizeof(Bf16), wire.at[1] + block * V::index_bytes,
           wire.at[2] + block * V::value_bytes}};
}

template <class V>
void write_indices(const Kept& kept, std::byte* to) {
  for (std::uint32_t i = 0; i < V::k; i += 2) {
    const std::uint32_t pair = kept.at[i] | std::uint32_t{kept.at[i + 1]} << 12;
    std::byte* const at = to + i / 2 * 3;
    at[0] = static_cast<std::byte>(pair);
    at[1] = static_cast<std::byte>(pair >> 8);
    at[2] = static_cast<std::byte>(pair >> 16);
  }
}

// Never above 4095, whatever the bytes say.
template <class V>
void read_indices(const std::byte* from, Kept& kept) {
  for (std::uint32_t i = 0; i < V::k; i += 2) {
    const std::byte* const at = from + i / 2 * 3;
    const std::uint32_t pair = std::to_integer<std::uint32_t>(at[0]) |
                               std::to_integer<std::uint32_t>(at[1]) << 8 |
                               std::to_integer<std::uint32_t>(at[2]) << 16;
    kept.at[i] = static_cast<std::uint16_t>(pair & 0xfff);
    kept.at[i + 1] = static_cast<std::uint16_t>(pair >> 12);
  }
}

template <class V>
void read_values(const ConstWire& from, std::array<float, most_kept>& values) {
  const float scale = value_of(load_at<Bf16>(from.at[0], 0));
  for (std::uint32_t i = 0; i < V::k; ++i) {
    if constexpr (V::values == Values::int2) {
      const int code = std::to_integer<int>(from.at[2][i / 4] >> (i % 4 * 2)) & 3;
      values[i] = two_bits::value_of(code, scale);
    } else {
      values[i] = static_cast<float>(std::to_integer<signed char>(from.at[2][i])) * scale;
    }
  }
}

// The scale and the codes of the kept elements of the block `p`; returns what they decode to.
template <class V>
void write_values(const float* p, const Kept& kept, std::uint32_t filled, const Wire& to,
                  std::array<float, most_kept>& decoded) {
  std::array<float, most_kept> values;
  std::uint32_t largest = 0;
  for (std::uint32_t i = 0; i < V::k; ++i) {
    values[i] = p[kept.at[i]];
    largest = std::max(largest, magnitude(values[i]));
  }
  std::fill_n(to.at[2], V::value_bytes, std::byte{});
  if constexpr (V::values == Values::int2) {
    const Bf16 scale = two_bits::scale_of(values.data(), V::k, std::min(filled, V::k), largest);
    store_at(to.at[0], 0, scale);
    if (two_bits::has_codes(scale)) {
      const float limit = two_bits::threshold * value_of(scale);
      for (std::uint32_t i = 0; i < V::k; ++i) {
        to.at[2][i / 4] |= static_cast<std::byte>(two_bits::code_of(values[i], limit) << i % 4 * 2);
      }
    }
  } else {
    const integers::Scale scale = integers::scale_of<127>(largest);
    store_at(to.at[0], 0, scale.bits);
    for (std::uint32_t i = 0; i < V::k && scale.plain; ++i) {
      to.at[2][i] = static_cast<std::byte>(integers::code_of<127>(values[i], scale.inverse, -1));
    }
  }
  read_values<V>({{to.at[0], nullptr, to.at[2]}}, decoded);
}

template <class V>
bool valid(const ConstWire& from, Extent extent) {
  Kept kept;
  for (std::size_t block = 0; block < extent.blocks; ++block) {
    read_indices<V>(from.at[1] + block * V::index_bytes, kept);
    for (std::uint32_t i = 1; i < V::k; ++i) {
      if (kept.at[i - 1] >= kept.at[i]) return false;
    }
  }
  return valid_scales(from.at[0], extent.blocks);
}

template <class V>
void decode(const ConstWire& from, std::size_t blocks, float* out) {
  Kept kept;
  std::array<float, most_kept> values;
  for (std::size_t block = 0; block < blocks; ++block) {
    const ConstWire wire = at_block<V>(from, block);
    float* const to = out + block * block_elements;
    std::fill_n(to, block_elements, 0.0F);
    read_indices<V>(wire.at[1], kept);
    read_values<V>(wire, values);
    for (std::uint32_t i = 0; i < V::k; ++i) to[kept.at[i]] = values[i];
  }
}

// Only the kept elements are touched.
template <class V>
void decode_add(const ConstWire& from, std::size_t blocks, float weight, float* sum) {
  Kept kept;
  std::array<float, most_kept> values;
  for (std::size_t block = 0; block < blocks; ++block) {
    const ConstWire wire = at_block<V>(from, block);
    float* const to = sum + block * block_elements;
    read_indices<V>(wire.at[1], kept);
    read_values<V>(wire, values);
    for (std::uint32_t i = 0; i < V::k; ++i) to[kept.at[i]] += weight * values[i];
  }
}

#if defined(__x86_64__)
template <class V>
void encode_avx2(const Source& from, Extent extent, const Wire& to);
template <class V>
void encode_avx512(const Source& from, Extent extent, const Wire& to);
#endif

}  // namespace isthmus::codecs::sparse
