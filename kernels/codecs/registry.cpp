// The table of codecs and the choice of instruction set. The only place that asks what the
// processor can do.
#include <bit>

#include "codecs/codec.hpp"

namespace isthmus::codecs {

// Each codec's folder defines one function of the codec's name, which makes its rows: one for each
// variant, the default first.
#define ISTHMUS_CODEC(id, name) std::vector<Codec> name(Isa isa);
#include "codecs/codecs.def"
#undef ISTHMUS_CODEC

namespace {

constexpr Id ids[] = {
#define ISTHMUS_CODEC(id, name) Id::name,
#include "codecs/codecs.def"
#undef ISTHMUS_CODEC
};
constexpr std::size_t codec_count = std::size(ids);

constexpr bool ids_are_unique() {
  for (std::size_t i = 0; i < codec_count; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (ids[i] == ids[j]) return false;
    }
  }
  return true;
}
static_assert(ids_are_unique(), "two codecs share an id");

std::vector<Codec> table_for(Isa isa) {
  std::vector<Codec> table;
  const auto add = [&table](const std::vector<Codec>& rows) {
    table.insert(table.end(), rows.begin(), rows.end());
  };
#define ISTHMUS_CODEC(id, name) add(name(isa));
#include "codecs/codecs.def"
#undef ISTHMUS_CODEC
  return table;
}

// FNV-1a, 64 bits (Fowler, Noll, Vo).
class Hash {
 public:
  void add(std::byte byte) {
    value_ = (value_ ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3U;
  }
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) add(byte);
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325U;
};

// Floats of every kind, NaN and denormal among them: what a codec makes of them is its format.
// More than a block of every codec, and ragged.
constexpr std::size_t probe_elements = max_block + 300;

std::vector<float> probe() {
  std::vector<float> values(probe_elements);
  std::uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = std::bit_cast<float>(state);
  }
  return values;
}

}  // namespace

Isa best_isa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("bmi2")) {
    return Isa::avx512;
  }
  if (__builtin_cpu_supports("avx2")) return Isa::avx2;
#endif
  return Isa::portable;
}

std::span<const Codec> all(Isa isa) {
  static const std::vector<Codec> portable = table_for(Isa::portable);
  static const std::vector<Codec> avx2 = table_for(Isa::avx2);
  static const std::vector<Codec> avx512 = table_for(Isa::avx512);
  return isa == Isa::avx512 ? avx512 : isa == Isa::avx2 ? avx2 : portable;
}

std::span<const Codec> all() {
  static const std::span<const Codec> best = all(best_isa());
  return best;
}

const Codec* find(std::string_view name) {
  for (const Codec& codec : all()) {
    if (codec.name == name) return &codec;
  }
  return nullptr;
}

const Codec* find(Id id, std::uint8_t variant) {
  for (const Codec& codec : all()) {
    if (codec.id == id && codec.variant == variant) return &codec;
  }
  return nullptr;
}

std::uint64_t table_hash() {
  const std::vector<float> values = probe();
  Hash hash;
  for (const Codec& codec : all(Isa::portable)) {
    std::vector<std::byte> wire(wire_size(codec, values.size()));
    encode(codec, values, wire);
    hash.add(static_cast<std::byte>(codec.id));
    hash.add(static_cast<std::byte>(codec.variant));
    hash.add(std::as_bytes(std::span(codec.name)));
    hash.add(wire);
  }
  return hash.value();
}

}  // namespace isthmus::codecs
