// int8 with AVX2 (codecs/integers_avx2.hpp).
#if defined(__x86_64__)

#include "codecs/int8/int8.hpp"
#include "codecs/integers_avx2.hpp"

namespace isthmus::codecs::eight_bits {
namespace {

void encode(const Source& from, Extent extent, const Wire& to) {
  using Encoder = integers::Avx2Encoder<127>;
  if (from.dither != nullptr) return encode_in_mode<Encoder, true>(from, extent, to);
  encode_in_mode<Encoder, false>(from, extent, to);
}

}  // namespace

void use_avx2(Codec& codec) {
  codec.encode = encode;
  codec.decode = integers::decode_avx2<127>;
  codec.decode_add = integers::decode_add_avx2<127>;
}

}  // namespace isthmus::codecs::eight_bits

#endif
