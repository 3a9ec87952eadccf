// int4: four bits an element, a scale for every 128 (format.md).
#include "codecs/int4/int4.hpp"
#include "codecs/integers.hpp"

namespace isthmus::codecs {
namespace {

struct Codes {
  static constexpr int limit = 7;
  static constexpr std::uint32_t bytes = integers::block_elements / 2;
  // Element 2i is the low half of byte i, which is zero before.
  static void put(std::byte* codes, std::size_t i, int code) {
    codes[i / 2] |= static_cast<std::byte>((code & 15) << (i % 2 * 4));
  }
  static int get(const std::byte* codes, std::size_t i) {
    const auto nibble = std::to_integer<int>(codes[i / 2] >> (i % 2 * 4)) & 15;
    return nibble < 8 ? nibble : nibble - 16;
  }
};
using Block = integers::Block<Codes>;

}  // namespace

std::vector<Codec> int4(Isa isa) {
  Codec codec{.id = Id::int4,
              .variant = 0,
              .name = "int4",
              .block = integers::block_elements,
              .section_bytes = {integers::scale_bytes, Codes::bytes},
              .recodable = true,
              .identity = false,
              .feedback = true,
              .dithers = true,
              .encode = portable::encode<Block>,
              .valid = integers::valid,
              .decode = portable::decode<Block>,
              .decode_add = portable::decode_add<Block>};
#if defined(__x86_64__)
  if (isa >= Isa::avx2) four_bits::use_avx2(codec);
  if (isa >= Isa::avx512) four_bits::use_avx512(codec);
#else
  static_cast<void>(isa);
#endif
  return {codec};
}

}  // namespace isthmus::codecs
