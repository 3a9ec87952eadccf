// topk: the k elements of largest magnitude of every 4096, in two or eight bits (format.md).
#include <algorithm>
#include <numeric>

#include "codecs/topk/topk.hpp"

namespace isthmus::codecs {
namespace {

using sparse::Kept;
using sparse::Values;
using sparse::Variant;

// Larger magnitudes first; of equal ones the lower place.
void select(const float* p, std::uint32_t k, Kept& kept) {
  std::array<std::uint16_t, sparse::block_elements> places;
  std::iota(places.begin(), places.end(), std::uint16_t{0});
  std::nth_element(places.begin(), places.begin() + k, places.end(),
                   [p](std::uint16_t a, std::uint16_t b) {
                     const std::uint32_t x = magnitude(p[a]), y = magnitude(p[b]);
                     return x != y ? x > y : a < b;
                   });
  std::copy_n(places.begin(), k, kept.at.begin());
  std::sort(kept.at.begin(), kept.at.begin() + k);
}

template <class V>
struct Block {
  static constexpr std::size_t size = sparse::block_elements;

  template <class W>
  static W at(const W& wire, std::size_t block) {
    return sparse::at_block<V>(wire, block);
  }

  static void encode(const float* p, std::uint32_t filled, const float*, const Wire& to) {
    Kept kept;
    std::array<float, sparse::most_kept> decoded;
    select(p, V::k, kept);
    sparse::write_indices<V>(kept, to.at[1]);
    sparse::write_values<V>(p, kept, filled, to, decoded);
  }

  static void decode(const ConstWire& from, float* out) { sparse::decode<V>(from, 1, out); }
};

template <class V>
Codec row(Isa isa, std::uint8_t variant, std::string_view name) {
  Codec codec{.id = Id::topk,
              .variant = variant,
              .name = name,
              .block = sparse::block_elements,
              .section_bytes = {sizeof(Bf16), V::index_bytes, V::value_bytes},
              .recodable = false,
              .identity = false,
              .feedback = true,
              .dithers = false,
              .encode = portable::encode<Block<V>>,
              .valid = sparse::valid<V>,
              .decode = sparse::decode<V>,
              .decode_add = sparse::decode_add<V>};
#if defined(__x86_64__)
  if (isa >= Isa::avx2) codec.encode = sparse::encode_avx2<V>;
  if (isa >= Isa::avx512) codec.encode = sparse::encode_avx512<V>;
#else
  static_cast<void>(isa);
#endif
  return codec;
}

}  // namespace

std::vector<Codec> topk(Isa isa) {
  return {row<Variant<64, Values::int2>>(isa, 0, "topk"),
          row<Variant<16, Values::int2>>(isa, 1, "topk-16-int2"),
          row<Variant<32, Values::int2>>(isa, 2, "topk-32-int2"),
          row<Variant<128, Values::int2>>(isa, 3, "topk-128-int2"),
          row<Variant<16, Values::int8>>(isa, 4, "topk-16-int8"),
          row<Variant<32, Values::int8>>(isa, 5, "topk-32-int8"),
          row<Variant<64, Values::int8>>(isa, 6, "topk-64-int8"),
          row<Variant<128, Values::int8>>(isa, 7, "topk-128-int8")};
}

}  // namespace isthmus::codecs
