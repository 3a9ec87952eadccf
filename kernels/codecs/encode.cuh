// What the CUDA encoders share: feedback, rounding, and reductions of a warp. Every product and sum
// is rounded by itself, as in all other implementations; -fmad=false sees to it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace isthmus::cuda {

constexpr unsigned everyone = 0xffffffffU;
constexpr std::int32_t infinity_bits = 0x7F800000;
constexpr std::int32_t flush_bits = 0x0D800000;  // 2^-100: what is below counts as zeros
constexpr std::int32_t nan_scale = 0x7FC0;

// A residual's type: none, float32, or bfloat16.
enum class Kind : int { none = 0, f32 = 1, bf16 = 2 };

__device__ inline float bf16_value(std::uint32_t bits) {
  return __uint_as_float(bits << 16);
}

__device__ inline std::uint32_t bf16_bits(float x) {
  const std::uint32_t word = __float_as_uint(x), upper = word >> 16;
  if ((word & 0x7FFFFFFFU) > 0x7F800000U) return upper | 0x40U;
  return (word + 0x7FFFU + (upper & 1U)) >> 16;
}

__device__ inline std::int32_t magnitude(float x) {
  return __float_as_int(x) & 0x7FFFFFFF;
}

__device__ inline std::int32_t warp_max(std::int32_t x) {
  return __reduce_max_sync(everyone, x);
}
__device__ inline std::uint32_t warp_sum(std::uint32_t x) {
  return __reduce_add_sync(everyone, x);
}

// Four elements at once; beyond `elements` they are zeros and are not touched.
struct Four {
  float at[4];
};

__device__ inline Four load_four(const float* from, std::int64_t begin, std::int64_t elements) {
  if (begin + 4 <= elements) {
    const float4 v = *reinterpret_cast<const float4*>(from + begin);
    return {{v.x, v.y, v.z, v.w}};
  }
  Four four{};
  for (int i = 0; i < 4; ++i)
    if (begin + i < elements) four.at[i] = from[begin + i];
  return four;
}

template <Kind K>
__device__ inline Four load_residual(const void* from, std::int64_t begin, std::int64_t elements) {
  if constexpr (K == Kind::f32) return load_four(static_cast<const float*>(from), begin, elements);
  const auto* halves = static_cast<const std::uint16_t*>(from);
  Four four{};
  if (begin + 4 <= elements) {
    const uint2 v = *reinterpret_cast<const uint2*>(halves + begin);
    return {{bf16_value(v.x & 0xFFFFU), bf16_value(v.x >> 16), bf16_value(v.y & 0xFFFFU),
             bf16_value(v.y >> 16)}};
  }
  for (int i = 0; i < 4; ++i)
    if (begin + i < elements) four.at[i] = bf16_value(halves[begin + i]);
  return four;
}

template <Kind K>
__device__ inline void store_residual(void* to, std::int64_t begin, std::int64_t elements,
                                      const Four& left) {
  if constexpr (K == Kind::f32) {
    auto* floats = static_cast<float*>(to);
    if (begin + 4 <= elements) {
      *reinterpret_cast<float4*>(floats + begin) =
          make_float4(left.at[0], left.at[1], left.at[2], left.at[3]);
      return;
    }
    for (int i = 0; i < 4; ++i)
      if (begin + i < elements) floats[begin + i] = left.at[i];
  } else {
    auto* halves = static_cast<std::uint16_t*>(to);
    if (begin + 4 <= elements) {
      *reinterpret_cast<uint2*>(halves + begin) =
          make_uint2(bf16_bits(left.at[0]) | bf16_bits(left.at[1]) << 16,
                     bf16_bits(left.at[2]) | bf16_bits(left.at[3]) << 16);
      return;
    }
    for (int i = 0; i < 4; ++i)
      if (begin + i < elements)
        halves[begin + i] = static_cast<std::uint16_t>(bf16_bits(left.at[i]));
  }
}

// x + beta * residual. now: null for none yet.
template <Kind K>
__device__ inline Four fed(const float* x, const void* now, float beta, std::int64_t begin,
                           std::int64_t elements) {
  Four p = load_four(x, begin, elements);
  if constexpr (K != Kind::none) {
    if (now != nullptr) {
      const Four left = load_residual<K>(now, begin, elements);
      for (int i = 0; i < 4; ++i) p.at[i] = __fadd_rn(p.at[i], __fmul_rn(beta, left.at[i]));
    }
  }
  return p;
}

// The scale of integers up to `limit` for a block of this largest magnitude (int8's format.md).
struct Scale {
  std::int32_t bits;
  bool plain;     // else all codes are zero
  float inverse;  // of the scale, where plain
};

__device__ inline Scale integer_scale(std::int32_t largest, float limit, std::int32_t cap) {
  const bool plain = largest >= flush_bits && largest < infinity_bits;
  const float quotient = __fdiv_rn(__int_as_float(plain ? largest : 0), limit);
  std::int32_t bits = min((__float_as_int(quotient) + 0xFFFF) >> 16, cap);
  if (largest >= infinity_bits) bits = nan_scale;
  const float value = bf16_value(static_cast<std::uint32_t>(bits));
  return {bits, plain, plain ? __fdiv_rn(1.0F, value) : 1.0F};
}

__device__ inline int integer_code(float p, const Scale& scale, float limit) {
  if (!scale.plain) return 0;
  const float whole = rintf(__fmul_rn(p, scale.inverse));
  return static_cast<int>(fminf(fmaxf(whole, -limit), limit));
}

}  // namespace isthmus::cuda
