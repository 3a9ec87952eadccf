// Philox4x32-10: a counter of four words and a key of 64 bits give four random words (Salmon,
// Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
//
// Not a cryptographic generator: whoever knows the key knows the numbers.
#pragma once

#include <array>
#include <cstdint>

namespace isthmus::rng {

using Words = std::array<std::uint32_t, 4>;

inline constexpr int philox_rounds = 10;
inline constexpr std::uint32_t philox_multipliers[] = {0xD2511F53U, 0xCD9E8D57U};
inline constexpr std::uint32_t philox_weyl[] = {0x9E3779B9U, 0xBB67AE85U};  // added to the key

inline Words philox(Words counter, std::uint64_t key) {
  auto low = static_cast<std::uint32_t>(key);
  auto high = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < philox_rounds; ++round) {
    const std::uint64_t a = std::uint64_t{philox_multipliers[0]} * counter[0];
    const std::uint64_t b = std::uint64_t{philox_multipliers[1]} * counter[2];
    counter = {
        static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ low, static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ high, static_cast<std::uint32_t>(a)};
    low += philox_weyl[0];
    high += philox_weyl[1];
  }
  return counter;
}

}  // namespace isthmus::rng
