// copy_finite: float32 values to where they are wanted, and whether all of them are finite, in one
// pass: looking costs nothing while the memory is what is waited for.
#pragma once

#include <span>

#include "codecs/codec.hpp"

namespace isthmus::codecs {

// True: no value is infinite or not a number. All are copied, whatever they are.
// REQUIRES: `to` has room for from.size() values and does not overlap `from`; it need not be
// aligned.
bool copy_finite(std::span<const float> from, std::byte* to, Isa isa = best_isa());

}  // namespace isthmus::codecs
