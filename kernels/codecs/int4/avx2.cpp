// int4 with AVX2 (codecs/integers_avx2.hpp).
#if defined(__x86_64__)

#include "codecs/int4/int4.hpp"
#include "codecs/integers_avx2.hpp"

namespace isthmus::codecs::four_bits {
namespace {

void encode(const Source& from, Extent extent, const Wire& to) {
  using Encoder = integers::Avx2Encoder<7>;
  if (from.dither != nullptr) return encode_in_mode<Encoder, true>(from, extent, to);
  encode_in_mode<Encoder, false>(from, extent, to);
}

}  // namespace

void use_avx2(Codec& codec) {
  codec.encode = encode;
  codec.decode = integers::decode_avx2<7>;
  codec.decode_add = integers::decode_add_avx2<7>;
}

}  // namespace isthmus::codecs::four_bits

#endif
