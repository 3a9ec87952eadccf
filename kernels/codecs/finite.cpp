#include "codecs/finite.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace isthmus::codecs {
namespace {

constexpr std::uint32_t exponent_bits = 0x7f800000U;
constexpr std::uint32_t exponent_one = 0x00800000U;

// Adding one to an exponent of all ones carries into the sign bit, and to no other.
std::uint32_t carry(float value) {
  return (std::bit_cast<std::uint32_t>(value) & exponent_bits) + exponent_one;
}

// In runs that are still in the first-level cache when they are looked at.
bool copy_runs(std::span<const float> from, std::byte* to) {
  constexpr std::size_t run = 4096;
  std::uint32_t found = 0;
  for (std::size_t begin = 0; begin < from.size(); begin += run) {
    const auto part = from.subspan(begin, std::min(run, from.size() - begin));
    std::memcpy(to + begin * sizeof(float), part.data(), part.size_bytes());
    for (const float value : part) found |= carry(value);
  }
  return found >> 31 == 0;
}

#if defined(__x86_64__)

constexpr std::size_t lanes = 8;
constexpr std::size_t line = 2 * lanes;  // of a cache
constexpr std::size_t page = 4096 / sizeof(float);
// Less than this the caller may find in a cache; more goes past the caches, without first reading
// what it overwrites.
constexpr std::size_t streamed_from = 1 << 20;
// Memory is waited for at the beginning of each page: whoever walks through several at a time waits
// less (docs/decisions/0010).
constexpr std::size_t walks = 4;

// What is found is added to `found`.
[[gnu::target("avx2")]] inline __m256i stream_lanes(const float* from, std::byte* to,
                                                    __m256i found) {
  const __m256i exponent = _mm256_set1_epi32(static_cast<int>(exponent_bits));
  const __m256i one = _mm256_set1_epi32(static_cast<int>(exponent_one));
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), x);
  return _mm256_or_si256(found, _mm256_add_epi32(_mm256_and_si256(x, exponent), one));
}

// REQUIRES: `to` is a multiple of a line, so that each is written whole and at once; from.size() is
// a multiple of lanes.
[[gnu::target("avx2")]] bool stream(std::span<const float> from, std::byte* to) {
  __m256i found = _mm256_setzero_si256();
  std::size_t begin = 0;
  for (; begin + walks * page <= from.size(); begin += walks * page)
    for (std::size_t at = begin; at < begin + page; at += line)
      for (std::size_t i = at; i < at + walks * page; i += page) {
        found = stream_lanes(&from[i], to + i * sizeof(float), found);
        found = stream_lanes(&from[i + lanes], to + (i + lanes) * sizeof(float), found);
      }
  for (; begin < from.size(); begin += lanes)
    found = stream_lanes(&from[begin], to + begin * sizeof(float), found);
  _mm_sfence();
  return _mm256_movemask_ps(_mm256_castsi256_ps(found)) == 0;
}

bool copy_streamed(std::span<const float> from, std::byte* to) {
  constexpr std::size_t line_bytes = line * sizeof(float);
  const std::size_t off = reinterpret_cast<std::uintptr_t>(to) % line_bytes;
  if (off % sizeof(float) != 0) return copy_runs(from, to);
  const std::size_t head = off == 0 ? 0 : (line_bytes - off) / sizeof(float);
  const std::size_t body = (from.size() - head) / lanes * lanes;
  const bool edges = copy_runs(from.first(head), to) &
                     copy_runs(from.subspan(head + body), to + (head + body) * sizeof(float));
  return stream(from.subspan(head, body), to + head * sizeof(float)) && edges;
}

#endif

}  // namespace

bool copy_finite(std::span<const float> from, std::byte* to, Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx2 && from.size() >= streamed_from) return copy_streamed(from, to);
#else
  static_cast<void>(isa);
#endif
  return copy_runs(from, to);
}

}  // namespace isthmus::codecs
