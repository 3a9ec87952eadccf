// What the fast selectors of topk share. The k-th largest magnitude hardly changes from block to
// block, so a threshold somewhat below the last one lets a few hundred of 4096 elements through, in
// the pass that also makes p and the residual. Bisection on the bits of their magnitudes then finds
// the k-th largest. Where too few came through, all elements are candidates: slower, and still
// right.
#pragma once

#include "codecs/topk/topk.hpp"

namespace isthmus::codecs::sparse {

// So far below the last k-th largest, in units of the bits: about three eighths of an octave.
inline constexpr std::uint32_t margin = 0x00300000;

inline std::uint32_t threshold_after(std::uint32_t kth) {
  return kth > margin ? kth - margin : 0;
}

// In ascending places. Room for a register's width behind them.
struct Candidates {
  alignas(64) std::array<std::uint32_t, block_elements + 16> magnitudes;
  alignas(64) std::array<std::uint32_t, block_elements + 16> places;
  std::size_t count;
};

// The largest number that at least k candidates reach; or, where exactly k reach it, any such
// number: no larger one is needed. count_from(x): how many reach x.
// REQUIRES: k reach `low`, none exceeds `high`.
template <class CountFrom>
std::uint32_t kth_largest(std::size_t k, std::uint32_t low, std::uint32_t high,
                          CountFrom&& count_from) {
  while (low < high) {
    const std::uint32_t middle = low + (high - low + 1) / 2;
    const std::size_t count = count_from(middle);
    if (count == k) return middle;
    if (count > k) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// The k candidates that reach `kth`; of those equal to it the first `room`.
inline void choose_among_ties(const Candidates& found, std::size_t room, std::size_t k,
                              std::uint32_t kth, Kept& kept) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < found.count && count < k; ++i) {
    const std::uint32_t magnitude = found.magnitudes[i];
    const bool tied = magnitude == kth;
    const bool taken = magnitude > kth || (tied && room > 0);
    room -= tied && taken ? 1 : 0;
    kept.at[count] = static_cast<std::uint16_t>(found.places[i]);
    count += taken ? 1 : 0;
  }
}

}  // namespace isthmus::codecs::sparse
