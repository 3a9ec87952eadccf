// int8: a signed byte an element, a scale for every 128 (format.md).
#include "codecs/int8/int8.hpp"
#include "codecs/integers.hpp"

namespace isthmus::codecs {
namespace {

struct Codes {
  static constexpr int limit = 127;
  static constexpr std::uint32_t bytes = integers::block_elements;
  static void put(std::byte* codes, std::size_t i, int code) {
    codes[i] = static_cast<std::byte>(code);
  }
  static int get(const std::byte* codes, std::size_t i) {
    return std::to_integer<signed char>(codes[i]);
  }
};
using Block = integers::Block<Codes>;

}  // namespace

std::vector<Codec> int8(Isa isa) {
  Codec codec{.id = Id::int8,
              .variant = 0,
              .name = "int8",
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
  if (isa >= Isa::avx2) eight_bits::use_avx2(codec);
  if (isa >= Isa::avx512) eight_bits::use_avx512(codec);
#else
  static_cast<void>(isa);
#endif
  return {codec};
}

}  // namespace isthmus::codecs
