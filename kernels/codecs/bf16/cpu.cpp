// bf16: the upper half of each float32, rounded (format.md).
#include "codecs/bf16/bf16.hpp"
#include "codecs/codec.hpp"

namespace isthmus::codecs {
namespace {

using bfloat16::Bits;

void encode(const Source& from, Extent extent, const Wire& to) {
  for (std::size_t i = 0; i < extent.blocks; ++i) {
    bfloat16::store(to.at[0], i, bfloat16::bits_of(from.values[i]));
  }
}

bool valid(const ConstWire&, Extent) {
  return true;
}

void decode(const ConstWire& from, std::size_t blocks, float* out) {
  for (std::size_t i = 0; i < blocks; ++i) {
    out[i] = bfloat16::value_of(bfloat16::load(from.at[0], i));
  }
}

void decode_add(const ConstWire& from, std::size_t blocks, float weight, float* sum) {
  for (std::size_t i = 0; i < blocks; ++i) {
    sum[i] += weight * bfloat16::value_of(bfloat16::load(from.at[0], i));
  }
}

}  // namespace

std::vector<Codec> bf16(Isa isa) {
  Codec codec{.id = Id::bf16,
              .variant = 0,
              .name = "bf16",
              .block = 1,
              .section_bytes = {sizeof(Bits)},
              .recodable = true,
              .identity = false,
              .feedback = false,
              .dithers = false,
              .encode = encode,
              .valid = valid,
              .decode = decode,
              .decode_add = decode_add};
#if defined(__x86_64__)
  if (isa >= Isa::avx2) {
    codec.encode = bfloat16::encode_avx2;
    codec.decode = bfloat16::decode_avx2;
    codec.decode_add = bfloat16::decode_add_avx2;
  }
#else
  static_cast<void>(isa);
#endif
  return {codec};
}

}  // namespace isthmus::codecs
