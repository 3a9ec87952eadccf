// sign: one bit an element, the mean magnitude of every 128 (format.md).
#include "codecs/moments.hpp"
#include "codecs/portable.hpp"
#include "codecs/sign/sign.hpp"

namespace isthmus::codecs {
namespace {

struct Block {
  static constexpr std::size_t size = signs::block_elements;

  template <class W>
  static W at(const W& wire, std::size_t block) {
    return {{wire.at[0] + block * sizeof(Bf16), wire.at[1] + block * signs::code_bytes, nullptr}};
  }

  static Bf16 scale_of(const float* p, std::uint32_t filled) {
    std::uint32_t largest = 0, sum = 0;
    for (std::size_t i = 0; i < size; ++i) largest = std::max(largest, magnitude(p[i]));
    if (largest >= infinity_bits) return nan_scale;
    if (largest < flush_bits) return 0;
    const FixedPoint point = fixed_point(largest, mean_bits);
    for (std::size_t i = 0; i < size; ++i) sum += fixed(p[i], point.factor);
    return std::min(signs::cap, mean_magnitude(sum, filled, point.back));
  }

  static void encode(const float* p, std::uint32_t filled, const float*, const Wire& to) {
    const Bf16 scale = scale_of(p, filled);
    store_at(to.at[0], 0, scale);
    std::fill_n(to.at[1], signs::code_bytes, std::byte{});
    if (scale == 0 || scale == nan_scale) return;
    for (std::size_t i = 0; i < size; ++i) {
      if (std::signbit(p[i])) to.at[1][i / 8] |= static_cast<std::byte>(1 << (i % 8));
    }
  }

  static void decode(const ConstWire& from, float* out) {
    const float scale = value_of(load_at<Bf16>(from.at[0], 0));
    for (std::size_t i = 0; i < size; ++i) {
      const bool negative = (from.at[1][i / 8] >> (i % 8) & std::byte{1}) != std::byte{};
      out[i] = negative ? -scale : scale;
    }
  }
};

bool valid(const ConstWire& from, Extent extent) {
  return valid_scales(from.at[0], extent.blocks);
}

}  // namespace

std::vector<Codec> sign(Isa isa) {
  Codec codec{.id = Id::sign,
              .variant = 0,
              .name = "sign",
              .block = signs::block_elements,
              .section_bytes = {sizeof(Bf16), signs::code_bytes},
              .recodable = false,
              .identity = false,
              .feedback = true,
              .dithers = false,
              .encode = portable::encode<Block>,
              .valid = valid,
              .decode = portable::decode<Block>,
              .decode_add = portable::decode_add<Block>};
#if defined(__x86_64__)
  if (isa >= Isa::avx2) signs::use_avx2(codec);
  if (isa >= Isa::avx512) signs::use_avx512(codec);
#else
  static_cast<void>(isa);
#endif
  return {codec};
}

}  // namespace isthmus::codecs
