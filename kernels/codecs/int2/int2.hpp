// int2: the faster implementations. For the sources of this folder only.
#pragma once

#include "codecs/codec.hpp"

namespace isthmus::codecs::gaussian {

inline constexpr std::uint32_t block_elements = 128;
inline constexpr std::uint32_t code_bytes = 32;

#if defined(__x86_64__)
void use_avx2(Codec& codec);
void use_avx512(Codec& codec);
#endif

}  // namespace isthmus::codecs::gaussian
