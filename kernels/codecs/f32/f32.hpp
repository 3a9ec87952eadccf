// f32: the faster implementations. For the sources of this folder only.
#pragma once

#include "codecs/codec.hpp"

#if defined(__x86_64__)
namespace isthmus::codecs::float32 {

void encode_avx2(const Source& from, Extent extent, const Wire& to);
void decode_avx2(const ConstWire& from, std::size_t blocks, float* out);
void decode_add_avx2(const ConstWire& from, std::size_t blocks, float weight, float* sum);

}  // namespace isthmus::codecs::float32
#endif
