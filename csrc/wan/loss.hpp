// Loss: which segments of a stream of segments are lost, each with the same probability, from a
// seed.
//
// It draws the distance to the next loss, so a thin loss costs next to nothing per segment.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace isthmus::wan {

class Loss {
 public:
  Loss() = default;
  Loss(double probability, std::uint64_t seed)
      : probability_(probability), random_(seed), spared_(draw()) {}

  // The positions, in ascending order, of those of the next `segments` segments that are lost.
  std::vector<std::size_t> strike(std::size_t segments) {
    std::vector<std::size_t> lost;
    std::size_t at = 0;
    while (spared_ < segments - at) {
      at += spared_;
      lost.push_back(at++);
      spared_ = draw();
    }
    if (spared_ != never) spared_ -= segments - at;
    return lost;
  }

 private:
  static constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

  // Segments that pass before the next loss: geometric, by inversion of its distribution function.
  std::size_t draw() {
    if (probability_ <= 0) return never;
    if (probability_ >= 1) return 0;
    const double uniform = 1.0 - static_cast<double>(random_() >> 11) * 0x1p-53;  // in (0, 1]
    const double gap = std::log(uniform) / std::log1p(-probability_);
    return gap < 1e18 ? static_cast<std::size_t>(gap) : never;
  }

  double probability_ = 0;
  std::mt19937_64 random_;
  std::size_t spared_ = never;
};

}  // namespace isthmus::wan
