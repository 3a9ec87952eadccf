// int4 with error feedback in CUDA (format.md): one warp a block of 128, four blocks at a time, so
// that eight loads of 16 bytes are under way in every thread before the first is needed.

#include "codecs/encode.cuh"

namespace isthmus::cuda {
namespace {

constexpr int block = 128, warps = 8, unrolled = 4;
constexpr float limit = 7;
constexpr std::int32_t cap = 0x7E12;  // the largest bfloat16 that times 7 is finite

template <Kind K>
__global__ void __launch_bounds__(32 * warps)
    encode_int4(const float* x, const void* now, void* next, std::uint16_t* scales,
                std::uint32_t* words, std::int64_t elements, float beta) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t warp = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
  const std::int64_t blocks = (elements + block - 1) / block;
  const std::int64_t padded = (blocks + 7) / 8 * 8;  // scales fill 16 bytes, the rest with zeros
  Four p[unrolled];
#pragma unroll
  for (int i = 0; i < unrolled; ++i)
    p[i] = fed<K>(x, now, beta, (warp * unrolled + i) * block + 4 * lane, elements);
#pragma unroll
  for (int i = 0; i < unrolled; ++i) {
    const std::int64_t row = warp * unrolled + i;
    std::int32_t largest = 0;
    for (float value : p[i].at) largest = max(largest, magnitude(value));
    const Scale scale = integer_scale(warp_max(largest), limit, cap);
    const float value = bf16_value(static_cast<std::uint32_t>(scale.bits));
    std::uint32_t packed = 0;
    Four left;
    for (int j = 0; j < 4; ++j) {
      const int code = integer_code(p[i].at[j], scale, limit);
      packed |= (static_cast<std::uint32_t>(code) & 15U) << (4 * j);
      left.at[j] = __fsub_rn(p[i].at[j], __fmul_rn(static_cast<float>(code), value));
    }
    const std::uint32_t neighbours = __shfl_down_sync(everyone, packed, 1);
    if (row < blocks && lane % 2 == 0)
      words[row * (block / 8) + lane / 2] = packed | neighbours << 16;
    if (row < padded && lane == 0) scales[row] = static_cast<std::uint16_t>(scale.bits);
    if constexpr (K != Kind::none) store_residual<K>(next, row * block + 4 * lane, elements, left);
  }
}

template <Kind K>
cudaError_t launch(const float* x, const void* now, void* next, std::uint8_t* wire,
                   std::int64_t elements, float beta, cudaStream_t stream) {
  if (elements == 0) return cudaSuccess;
  const std::int64_t blocks = (elements + block - 1) / block, padded = (blocks + 7) / 8 * 8;
  const std::int64_t each = warps * unrolled;
  encode_int4<K><<<static_cast<unsigned>((padded + each - 1) / each), 32 * warps, 0, stream>>>(
      x, now, next, reinterpret_cast<std::uint16_t*>(wire),
      reinterpret_cast<std::uint32_t*>(wire + 2 * padded), elements, beta);
  return cudaGetLastError();
}

}  // namespace
}  // namespace isthmus::cuda

// kind: of the residual (Kind). x, the residuals and the wire begin at multiples of 16 bytes.
// Returns a cudaError_t.
extern "C" __attribute__((visibility("default"))) int isthmus_int4_encode(
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
      return isthmus::cuda::launch<Kind::none>(values, residual, left, to, elements, beta, on);
    case Kind::f32:
      return isthmus::cuda::launch<Kind::f32>(values, residual, left, to, elements, beta, on);
    case Kind::bf16:
      return isthmus::cuda::launch<Kind::bf16>(values, residual, left, to, elements, beta, on);
  }
  return cudaErrorInvalidValue;
}
