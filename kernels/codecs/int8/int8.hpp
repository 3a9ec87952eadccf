// int8: the faster implementations. For the sources of this folder only.
#pragma once

#include "codecs/codec.hpp"

#if defined(__x86_64__)
namespace isthmus::codecs::eight_bits {

void use_avx2(Codec& codec);
void use_avx512(Codec& codec);

}  // namespace isthmus::codecs::eight_bits
#endif
