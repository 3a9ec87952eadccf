// f32: the faster implementations. For the sources of this folder only.
#pragma once

#include "codecs/codec.hpp"

#if defined(__x86_64__)
namespace isthmus::codecs::float32 {

void encode_avx2(std::span<const float> in, std::span<std::byte> wire);
bool decode_avx2(std::span<const std::byte> wire, std::span<float> out);
bool decode_add_avx2(std::span<const std::byte> wire, float weight, std::span<float> sum);

}  // namespace isthmus::codecs::float32
#endif
