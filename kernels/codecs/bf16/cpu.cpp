// bf16: the upper half of each float32, rounded (format.md).
#include "codecs/bf16/bf16.hpp"
#include "codecs/codec.hpp"

namespace isthmus::codecs {
namespace {

using bfloat16::Bits;

std::uint64_t wire_size(std::uint64_t elements) {
  return elements * sizeof(Bits);
}

int pieces(std::uint64_t, std::uint64_t begin, std::uint64_t count,
           std::span<Piece, max_sections> out) {
  out[0] = {.offset = begin * sizeof(Bits), .bytes = count * sizeof(Bits)};
  return 1;
}

void encode(std::span<const float> in, std::span<std::byte> wire) {
  const float* from = in.data();
  std::byte* to = wire.data();
  for (std::size_t i = 0, n = in.size(); i < n; ++i) {
    bfloat16::store(to, i, bfloat16::bits_of(from[i]));
  }
}

bool decode(std::span<const std::byte> wire, std::span<float> out) {
  const std::byte* from = wire.data();
  float* to = out.data();
  for (std::size_t i = 0, n = out.size(); i < n; ++i) {
    to[i] = bfloat16::value_of(bfloat16::load(from, i));
  }
  return true;
}

bool decode_add(std::span<const std::byte> wire, float weight, std::span<float> sum) {
  const std::byte* from = wire.data();
  float* to = sum.data();
  for (std::size_t i = 0, n = sum.size(); i < n; ++i) {
    to[i] += weight * bfloat16::value_of(bfloat16::load(from, i));
  }
  return true;
}

}  // namespace

Codec bf16(Isa isa) {
  Codec codec{.id = Id::bf16,
              .name = "bf16",
              .block = 1,
              .recodable = true,
              .identity = false,
              .wire_size = wire_size,
              .pieces = pieces,
              .encode = encode,
              .decode = decode,
              .decode_add = decode_add};
#if defined(__x86_64__)
  if (isa >= Isa::avx2) {
    codec.encode = bfloat16::encode_avx2;
    codec.decode = bfloat16::decode_avx2;
    codec.decode_add = bfloat16::decode_add_avx2;
  }
#else
  static_cast<void>(isa);
#endif
  return codec;
}

}  // namespace isthmus::codecs
