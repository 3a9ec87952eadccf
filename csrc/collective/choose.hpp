// choose: how an operation runs when the user says "auto". Pure, and the same at every site.
#pragma once

#include <optional>
#include <string>

#include "base/status.hpp"
#include "collective/format.hpp"
#include "collective/paths.hpp"

namespace isthmus {

// 256 KiB of float32: large enough that a frame's cost vanishes, small enough to stay in the
// second-level cache. All granules are powers of two up to the largest.
inline constexpr std::uint32_t default_slice_elements = 64 << 10;
inline constexpr std::uint32_t least_slice_elements = 4 << 10;
static_assert(default_slice_elements % codecs::max_granule == 0);

struct Choice {
  Algorithm algorithm = Algorithm::gather;
  Shares shares{};  // of direct; none: all the same
  Order order{};    // of ring; none: by rank
  std::uint32_t slice_elements = default_slice_elements;
  std::optional<double> seconds{};  // that it takes, where the paths are known

  friend bool operator==(const Choice&, const Choice&) = default;
};

// Whether the sites are all on one machine, or not as far as anyone knows.
enum class Reach : std::uint8_t { one_machine, anywhere };

// `paths`: as measured; null: not known, and then by the number of bytes.
// `reach` counts only then.
Choice choose(int world, const Format& format, const Paths* paths = nullptr,
              Reach reach = Reach::anywhere);
// The best way to run a schedule that is given. REQUIRES: check_schedule() has nothing against it.
Choice choose_for(Algorithm algorithm, int world, const Format& format,
                  const Paths* paths = nullptr, Reach reach = Reach::anywhere);

// Refuses, with the reason, a schedule that a codec cannot take.
Status check_schedule(Algorithm algorithm, const Format& format);

std::string_view name_of(Algorithm algorithm);

// The slice, the shares and the order in words, for messages; equal texts mean equal cuts.
std::string cut_text(std::uint32_t slice_elements, const Shares& shares, const Order& order);

}  // namespace isthmus
