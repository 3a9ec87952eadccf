// f32 with AVX2: 32 elements a turn, the rest one by one. The target is set on each function, never
// for the file: inline functions of headers compiled for AVX2 would otherwise be the ones that the
// whole program links.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "codecs/codec.hpp"
#include "codecs/f32/f32.hpp"

namespace isthmus::codecs::float32 {
namespace {

constexpr std::size_t lanes = 8;
constexpr std::size_t stride = 4 * lanes;

// Larger copies leave the caches, and the library's memcpy knows better how to. Smaller ones it
// leaves to `rep movsb`, which some AMD processors run ten times slower when both pointers lie
// alike in their pages, as tensors and slices often do (bench/codecs.py --elements 65536).
constexpr std::size_t library_copies_from_bytes = 2 << 20;

[[gnu::target("avx2")]] void copy_lanes(const float* from, float* to, std::size_t n) {
  std::size_t i = 0;
  for (; i + stride <= n; i += stride) {
    const __m256 a = _mm256_loadu_ps(from + i);
    const __m256 b = _mm256_loadu_ps(from + i + lanes);
    const __m256 c = _mm256_loadu_ps(from + i + 2 * lanes);
    const __m256 d = _mm256_loadu_ps(from + i + 3 * lanes);
    _mm256_storeu_ps(to + i, a);
    _mm256_storeu_ps(to + i + lanes, b);
    _mm256_storeu_ps(to + i + 2 * lanes, c);
    _mm256_storeu_ps(to + i + 3 * lanes, d);
  }
  if (i < n) std::memmove(to + i, from + i, (n - i) * sizeof(float));
}

// The pointers may be equal (a wire decoded where it lies), but not overlap otherwise.
void copy(const void* from, void* to, std::size_t bytes) {
  if (from == to || bytes == 0) return;
  if (bytes >= library_copies_from_bytes) {
    std::memcpy(to, from, bytes);
  } else {
    copy_lanes(static_cast<const float*>(from), static_cast<float*>(to), bytes / sizeof(float));
  }
}

[[gnu::target("avx2")]] void add_product(const float* from, __m256 weight, float* sum) {
  const __m256 product = _mm256_mul_ps(weight, _mm256_loadu_ps(from));
  _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), product));
}

[[gnu::target("avx2")]] void add_lanes(const std::byte* wire, float weight, float* sum,
                                       std::size_t n) {
  const auto* from = reinterpret_cast<const float*>(wire);
  const __m256 weights = _mm256_set1_ps(weight);
  std::size_t i = 0;
  for (; i + stride <= n; i += stride) {
    add_product(from + i, weights, sum + i);
    add_product(from + i + lanes, weights, sum + i + lanes);
    add_product(from + i + 2 * lanes, weights, sum + i + 2 * lanes);
    add_product(from + i + 3 * lanes, weights, sum + i + 3 * lanes);
  }
  for (; i < n; ++i) {
    float value;  // a wire need not be aligned
    std::memcpy(&value, wire + i * sizeof value, sizeof value);
    sum[i] += weight * value;
  }
}

}  // namespace

void encode_avx2(const Source& from, Extent extent, const Wire& to) {
  copy(from.values, to.at[0], extent.blocks * sizeof(float));
}

void decode_avx2(const ConstWire& from, std::size_t blocks, float* out) {
  copy(from.at[0], out, blocks * sizeof(float));
}

void decode_add_avx2(const ConstWire& from, std::size_t blocks, float weight, float* sum) {
  add_lanes(from.at[0], weight, sum, blocks);
}

}  // namespace isthmus::codecs::float32

#endif
