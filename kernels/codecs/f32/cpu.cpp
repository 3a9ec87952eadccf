// f32: the elements as they are (format.md).
#include <cstring>

#include "codecs/codec.hpp"
#include "codecs/f32/f32.hpp"

namespace isthmus::codecs {
namespace {

// memmove, not memcpy: a caller may decode a wire that is the result's own memory.
void encode(const Source& from, Extent extent, const Wire& to) {
  std::memmove(to.at[0], from.values, extent.blocks * sizeof(float));
}

bool valid(const ConstWire&, Extent) {
  return true;
}

void decode(const ConstWire& from, std::size_t blocks, float* out) {
  if (blocks > 0) std::memmove(out, from.at[0], blocks * sizeof(float));
}

void decode_add(const ConstWire& from, std::size_t blocks, float weight, float* sum) {
  for (std::size_t i = 0; i < blocks; ++i) {
    float value;  // a wire need not be aligned
    std::memcpy(&value, from.at[0] + i * sizeof value, sizeof value);
    sum[i] += weight * value;
  }
}

}  // namespace

std::vector<Codec> f32(Isa isa) {
  Codec codec{.id = Id::f32,
              .variant = 0,
              .name = "f32",
              .block = 1,
              .section_bytes = {sizeof(float)},
              .recodable = true,
              .identity = true,
              .feedback = false,
              .dithers = false,
              .encode = encode,
              .valid = valid,
              .decode = decode,
              .decode_add = decode_add};
#if defined(__x86_64__)
  if (isa >= Isa::avx2) {
    codec.encode = float32::encode_avx2;
    codec.decode = float32::decode_avx2;
    codec.decode_add = float32::decode_add_avx2;
  }
#else
  static_cast<void>(isa);
#endif
  return {codec};
}

}  // namespace isthmus::codecs
