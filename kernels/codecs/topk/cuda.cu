// topk with error feedback in CUDA (format.md): 256 threads a block of 4096 elements, in registers
// from the load to the residual. The K-th largest magnitude is found bit by bit; kept elements meet
// in shared memory, where one warp codes them.

#include "codecs/encode.cuh"

namespace isthmus::cuda {
namespace {

constexpr int block = 4096, threads = 256, warps = threads / 32, quads = block / (4 * threads);
constexpr std::int32_t two_bit_cap = 0x7F29, integer_cap = 0x7C01;
constexpr float small_level = 0.4528F, large_level = 1.510F, threshold = 0.9816F;

struct Shared {
  std::uint32_t counts[2][warps];
  std::uint32_t totals[quads][warps];
  std::uint32_t place[128];
  float value[128];
  std::uint32_t code[128];
};

// The sum over all threads; `turn` alternates, so that one barrier is enough.
__device__ std::uint32_t block_sum(Shared& shared, std::uint32_t mine, int turn) {
  const std::uint32_t sum = warp_sum(mine);
  if (threadIdx.x % 32 == 0) shared.counts[turn][threadIdx.x / 32] = sum;
  __syncthreads();
  std::uint32_t all = 0;
  for (std::uint32_t each : shared.counts[turn]) all += each;
  return all;
}

// The largest t of which there are k magnitudes or more.
__device__ std::int32_t kth_largest(Shared& shared, const Four (&p)[quads], std::uint32_t k) {
  std::int32_t found = 0;
  for (int bit = 30; bit >= 0; --bit) {
    const std::int32_t candidate = found | (1 << bit);
    std::uint32_t mine = 0;
    for (const Four& four : p)
      for (float value : four.at) mine += magnitude(value) >= candidate ? 1 : 0;
    if (block_sum(shared, mine, bit & 1) >= k) found = candidate;
  }
  return found;
}

// For every quad of this thread: how many come before it, above (low half) and equal (high half).
__device__ void count_before(Shared& shared, const std::uint32_t (&mine)[quads],
                             std::uint32_t (&before)[quads]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  for (int q = 0; q < quads; ++q) {
    std::uint32_t sum = mine[q];
    for (int step = 1; step < 32; step *= 2) {
      const std::uint32_t other = __shfl_up_sync(everyone, sum, static_cast<unsigned>(step));
      if (lane >= step) sum += other;
    }
    if (lane == 31) shared.totals[q][warp] = sum;
    before[q] = sum - mine[q];
  }
  __syncthreads();
  std::uint32_t earlier = 0;
  for (int q = 0; q < quads; ++q) {
    for (int w = 0; w < warps; ++w) {
      if (w == warp) before[q] += earlier;
      earlier += shared.totals[q][w];
    }
  }
}

// Which elements are kept: those above `least`, and the first `wanted` that equal it.
struct Kept {
  std::int32_t least;
  std::uint32_t wanted;

  // call(q, i, place) for each kept element of this thread.
  template <typename Call>
  __device__ void each(const Four (&p)[quads], const std::uint32_t (&before)[quads],
                       Call call) const {
#pragma unroll
    for (int q = 0; q < quads; ++q) {
      std::uint32_t above = before[q] & 0xFFFFU, equal = before[q] >> 16;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int32_t size = magnitude(p[q].at[i]);
        if (size > least || (size == least && equal < wanted))
          call(q, i, above + min(equal, wanted));
        above += size > least ? 1 : 0;
        equal += size == least ? 1 : 0;
      }
    }
  }
};

// The root mean square as a scale (int2's format.md). REQUIRES: one warp.
template <int K>
__device__ std::int32_t root_scale(const Shared& shared, std::int32_t largest, int filled) {
  if (largest >= infinity_bits) return nan_scale;
  if (largest < flush_bits) return 0;
  const int shift = 11 - ((largest >> 23) - 127);
  const float factor = __int_as_float((shift + 127) << 23);
  const float back = __int_as_float((127 - shift) << 23);
  std::uint32_t sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < K; i += 32) {
    const auto number =
        static_cast<std::uint32_t>(rintf(__fmul_rn(fabsf(shared.value[i]), factor)));
    sum += number * number;
  }
  const float mean = __fdiv_rn(__uint2float_rn(warp_sum(sum)), static_cast<float>(filled));
  const float root = __fmul_rn(__fsqrt_rn(mean), back);
  return min(static_cast<std::int32_t>(bf16_bits(root)), two_bit_cap);
}

// Codes the kept values: `value` becomes what they decode to. REQUIRES: the first warp.
template <int K, int Bits>
__device__ std::int32_t code_values(Shared& shared, int filled) {
  std::int32_t largest = 0;
  for (int i = static_cast<int>(threadIdx.x); i < K; i += 32)
    largest = max(largest, magnitude(shared.value[i]));
  largest = warp_max(largest);
  if constexpr (Bits == 8) {
    const Scale scale = integer_scale(largest, 127, integer_cap);
    const float value = bf16_value(static_cast<std::uint32_t>(scale.bits));
    for (int i = static_cast<int>(threadIdx.x); i < K; i += 32) {
      const int code = integer_code(shared.value[i], scale, 127);
      shared.code[i] = static_cast<std::uint32_t>(code) & 255U;
      shared.value[i] = __fmul_rn(static_cast<float>(code), value);
    }
    return scale.bits;
  } else {
    const std::int32_t scale = root_scale<K>(shared, largest, filled);
    const float value = bf16_value(static_cast<std::uint32_t>(scale));
    const float limit = __fmul_rn(value, threshold);
    const bool coded = scale != 0 && scale != nan_scale;
    for (int i = static_cast<int>(threadIdx.x); i < K; i += 32) {
      const float p = shared.value[i];
      const bool large = coded && fabsf(p) > limit;
      const bool negative = coded && (__float_as_uint(p) >> 31) != 0;
      const float size = __fmul_rn(value, large ? large_level : small_level);
      shared.code[i] = (large ? 1U : 0U) | (negative ? 2U : 0U);
      shared.value[i] = negative ? -size : size;
    }
    return scale;
  }
}

// The wire of one block. REQUIRES: all threads.
template <int K, int Bits>
__device__ void write_block(const Shared& shared, std::uint8_t* places, std::uint32_t* words) {
  const int t = static_cast<int>(threadIdx.x);
  if (t < K / 2) {
    const std::uint32_t both = shared.place[2 * t] | shared.place[2 * t + 1] << 12;
    for (int i = 0; i < 3; ++i) places[3 * t + i] = static_cast<std::uint8_t>(both >> (8 * i));
  }
  constexpr int each = 32 / Bits;
  if (t < K / each) {
    std::uint32_t word = 0;
    for (int i = 0; i < each; ++i) word |= shared.code[each * t + i] << (Bits * i);
    words[t] = word;
  }
}

struct Sections {
  std::uint16_t* scales;
  std::uint8_t* places;
  std::uint32_t* words;
};

__device__ void write_zeros_between(const Sections& to, std::int64_t blocks, int place_bytes) {
  const int t = static_cast<int>(threadIdx.x);
  if (blocks + t < (blocks + 7) / 8 * 8) to.scales[blocks + t] = 0;
  const std::int64_t end = blocks * place_bytes;
  if (end + t < (end + 15) / 16 * 16) to.places[end + t] = 0;
}

template <int K, int Bits, Kind R>
__global__ void __launch_bounds__(threads)
    encode_topk(const float* x, const void* now, void* next, Sections to, std::int64_t elements,
                float beta) {
  __shared__ Shared shared;
  const int t = static_cast<int>(threadIdx.x);
  const std::int64_t row = blockIdx.x, begin = row * block;
  Four p[quads];
#pragma unroll
  for (int q = 0; q < quads; ++q)
    p[q] = fed<R>(x, now, beta, begin + 4 * (q * threads + t), elements);
  const std::int32_t least = kth_largest(shared, p, K);
  std::uint32_t mine[quads], before[quads], above_all = 0;
  for (int q = 0; q < quads; ++q) {
    mine[q] = 0;
    for (float value : p[q].at) {
      const std::int32_t size = magnitude(value);
      mine[q] += size > least ? 1U : size == least ? 1U << 16 : 0U;
    }
    above_all += mine[q] & 0xFFFFU;
  }
  const std::uint32_t wanted = K - block_sum(shared, above_all, 1);
  count_before(shared, mine, before);
  const Kept kept{least, wanted};
  kept.each(p, before, [&](int q, int i, std::uint32_t place) {
    shared.place[place] = static_cast<std::uint32_t>(4 * (q * threads + t) + i);
    shared.value[place] = p[q].at[i];
  });
  __syncthreads();
  if (t < 32) {
    const auto filled = static_cast<int>(min(elements - begin, static_cast<std::int64_t>(K)));
    const std::int32_t scale = code_values<K, Bits>(shared, filled);
    if (t == 0) to.scales[row] = static_cast<std::uint16_t>(scale);
  }
  __syncthreads();
  write_block<K, Bits>(shared, to.places + row * (K / 2 * 3), to.words + row * (K * Bits / 32));
  const std::int64_t blocks = gridDim.x;
  if (row == blocks - 1) write_zeros_between(to, blocks, K / 2 * 3);
  if constexpr (R != Kind::none) {
    Four left[quads];
    for (int q = 0; q < quads; ++q) left[q] = p[q];
    kept.each(p, before, [&](int q, int i, std::uint32_t place) {
      left[q].at[i] = __fsub_rn(p[q].at[i], shared.value[place]);
    });
    for (int q = 0; q < quads; ++q)
      store_residual<R>(next, begin + 4 * (q * threads + t), elements, left[q]);
  }
}

template <int K, int Bits, Kind R>
cudaError_t launch(const float* x, const void* now, void* next, std::uint8_t* wire,
                   std::int64_t elements, float beta, cudaStream_t stream) {
  if (elements == 0) return cudaSuccess;
  const std::int64_t blocks = (elements + block - 1) / block;
  const std::int64_t places = (2 * blocks + 15) / 16 * 16;
  const std::int64_t words = places + (blocks * (K / 2 * 3) + 15) / 16 * 16;
  const Sections to{reinterpret_cast<std::uint16_t*>(wire), wire + places,
                    reinterpret_cast<std::uint32_t*>(wire + words)};
  encode_topk<K, Bits, R>
      <<<static_cast<unsigned>(blocks), threads, 0, stream>>>(x, now, next, to, elements, beta);
  return cudaGetLastError();
}

}  // namespace
}  // namespace isthmus::cuda

// The 64 largest in two bits each. kind: of the residual (Kind). x, the residuals and the wire
// begin at multiples of 16 bytes. Returns a cudaError_t.
extern "C" __attribute__((visibility("default"))) int isthmus_topk_encode(
    std::uintptr_t x, std::uintptr_t now, std::uintptr_t next, int kind, std::uintptr_t wire,
    std::int64_t elements, float beta, std::uintptr_t stream) {
  using isthmus::cuda::Kind;
  const auto* values = reinterpret_cast<const float*>(x);
  const auto* residual = reinterpret_cast<const void*>(now);
  auto* left = reinterpret_cast<void*>(next);
  auto* to = reinterpret_cast<std::uint8_t*>(wire);
  auto* on = reinterpret_cast<cudaStream_t>(stream);
  switch (static_cast<Kind>(kind)) {
    case Kind::none:
      return isthmus::cuda::launch<64, 2, Kind::none>(values, residual, left, to, elements, beta,
                                                      on);
    case Kind::f32:
      return isthmus::cuda::launch<64, 2, Kind::f32>(values, residual, left, to, elements, beta,
                                                     on);
    case Kind::bf16:
      return isthmus::cuda::launch<64, 2, Kind::bf16>(values, residual, left, to, elements, beta,
                                                      on);
  }
  return cudaErrorInvalidValue;
}
