// f32: the elements as they are (format.md).
#include <cstring>

#include "codecs/codec.hpp"
#include "codecs/f32/f32.hpp"

namespace isthmus::codecs {
namespace {

std::uint64_t wire_size(std::uint64_t elements) {
  return elements * sizeof(float);
}

int pieces(std::uint64_t, std::uint64_t begin, std::uint64_t count,
           std::span<Piece, max_sections> out) {
  out[0] = {.offset = begin * sizeof(float), .bytes = count * sizeof(float)};
  return 1;
}

// memmove, not memcpy: a caller may decode a wire that is the result's own memory.
void encode(std::span<const float> in, std::span<std::byte> wire) {
  if (!in.empty()) std::memmove(wire.data(), in.data(), in.size_bytes());
}

bool decode(std::span<const std::byte> wire, std::span<float> out) {
  if (!out.empty()) std::memmove(out.data(), wire.data(), out.size_bytes());
  return true;
}

bool decode_add(std::span<const std::byte> wire, float weight, std::span<float> sum) {
  const std::byte* from = wire.data();
  float* to = sum.data();
  for (std::size_t i = 0, n = sum.size(); i < n; ++i) {
    float value;  // a wire need not be aligned
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    to[i] += weight * value;
  }
  return true;
}

}  // namespace

Codec f32(Isa isa) {
  Codec codec{.id = Id::f32,
              .name = "f32",
              .block = 1,
              .recodable = true,
              .identity = true,
              .wire_size = wire_size,
              .pieces = pieces,
              .encode = encode,
              .decode = decode,
              .decode_add = decode_add};
#if defined(__x86_64__)
  if (isa >= Isa::avx2) {
    codec.encode = float32::encode_avx2;
    codec.decode = float32::decode_avx2;
    codec.decode_add = float32::decode_add_avx2;
  }
#else
  static_cast<void>(isa);
#endif
  return codec;
}

}  // namespace isthmus::codecs
