// int2: two bits an element, a scale for every 128 (format.md).
#include "codecs/int2/int2.hpp"
#include "codecs/moments.hpp"
#include "codecs/portable.hpp"

namespace isthmus::codecs {
namespace {

struct Block {
  static constexpr std::size_t size = gaussian::block_elements;

  template <class W>
  static W at(const W& wire, std::size_t block) {
    return {
        {wire.at[0] + block * sizeof(Bf16), wire.at[1] + block * gaussian::code_bytes, nullptr}};
  }

  static void encode(const float* p, std::uint32_t filled, const float*, const Wire& to) {
    std::uint32_t largest = 0;
    for (std::size_t i = 0; i < size; ++i) largest = std::max(largest, magnitude(p[i]));
    const Bf16 scale = two_bits::scale_of(p, size, filled, largest);
    store_at(to.at[0], 0, scale);
    std::fill_n(to.at[1], gaussian::code_bytes, std::byte{});
    if (!two_bits::has_codes(scale)) return;
    const float limit = two_bits::threshold * value_of(scale);
    for (std::size_t i = 0; i < size; ++i) {
      to.at[1][i / 4] |= static_cast<std::byte>(two_bits::code_of(p[i], limit) << (i % 4 * 2));
    }
  }

  static void decode(const ConstWire& from, float* out) {
    const float scale = value_of(load_at<Bf16>(from.at[0], 0));
    for (std::size_t i = 0; i < size; ++i) {
      const int code = std::to_integer<int>(from.at[1][i / 4] >> (i % 4 * 2)) & 3;
      out[i] = two_bits::value_of(code, scale);
    }
  }
};

bool valid(const ConstWire& from, Extent extent) {
  return valid_scales(from.at[0], extent.blocks);
}

}  // namespace

std::vector<Codec> int2(Isa isa) {
  Codec codec{.id = Id::int2,
              .variant = 0,
              .name = "int2",
              .block = gaussian::block_elements,
              .section_bytes = {sizeof(Bf16), gaussian::code_bytes},
              .recodable = true,
              .identity = false,
              .feedback = true,
              .dithers = false,
              .encode = portable::encode<Block>,
              .valid = valid,
              .decode = portable::decode<Block>,
              .decode_add = portable::decode_add<Block>};
#if defined(__x86_64__)
  if (isa >= Isa::avx2) gaussian::use_avx2(codec);
  if (isa >= Isa::avx512) gaussian::use_avx512(codec);
#else
  static_cast<void>(isa);
#endif
  return {codec};
}

}  // namespace isthmus::codecs
