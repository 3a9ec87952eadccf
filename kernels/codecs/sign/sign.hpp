// sign: the faster implementations. For the sources of this folder only.
#pragma once

#include "codecs/codec.hpp"

namespace isthmus::codecs::signs {

inline constexpr std::uint32_t block_elements = 128;
inline constexpr std::uint32_t code_bytes = 16;
inline constexpr std::uint16_t cap = 0x7f7f;  // the largest finite bfloat16

#if defined(__x86_64__)
void use_avx2(Codec& codec);
void use_avx512(Codec& codec);
#endif

}  // namespace isthmus::codecs::signs
