// By instruction, three stretches at once: an instruction takes 8 bytes and 3 cycles, but a new one
// can begin in each cycle. The results of the stretches are then put together: bytes behind a
// stretch change what it makes by a product of polynomials, of which tables hold the parts.
//
// By folding, 256 bytes are carried to the place of the next 256, 16 at a time: to which their
// products by a power of x are added, so that 256 bytes are left that have the same remainder.
#include "net/crc32c.hpp"

#include <array>

#if defined(__x86_64__)
#include <immintrin.h>
#define ISTHMUS_CRC32C_TARGET __attribute__((target("sse4.2")))
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define ISTHMUS_CRC32C_TARGET __attribute__((target("+crc")))
#endif

namespace isthmus {
namespace {

constexpr std::uint32_t castagnoli_reflected = 0x82f63b78;
using Table = std::array<std::uint32_t, 256>;

constexpr std::uint32_t times_x(std::uint32_t p) {
  return (p >> 1) ^ ((p & 1) != 0 ? castagnoli_reflected : 0);
}

// The highest bit is x to the power of 0.
constexpr std::uint32_t product(std::uint32_t a, std::uint32_t b) {
  std::uint32_t sum = 0;
  for (std::uint32_t bit = 1U << 31; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) sum ^= b;
    b = times_x(b);
  }
  return sum;
}

// Slicing by 8: byte_tables[k][b] is the crc of the byte b and k zeros behind it.
constexpr std::array<Table, 8> make_tables() {
  std::array<Table, 8> made{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = times_x(crc);
    made[0][i] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::uint32_t i = 0; i < 256; ++i) {
      const std::uint32_t before = made[k - 1][i];
      made[k][i] = (before >> 8) ^ made[0][before & 0xff];
    }
  return made;
}

constexpr auto byte_tables = make_tables();

std::uint32_t by_tables(std::uint32_t crc, ByteView bytes) {
  const std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size();
  for (; end - at >= 8; at += 8) {
    const std::uint64_t eight = load<std::uint64_t>(at) ^ crc;
    crc = 0;
    for (std::size_t k = 0; k < 8; ++k) crc ^= byte_tables[7 - k][(eight >> (8 * k)) & 0xff];
  }
  for (; at != end; ++at)
    crc = (crc >> 8) ^ byte_tables[0][(crc ^ std::to_integer<std::uint32_t>(*at)) & 0xff];
  return crc;
}

#ifdef ISTHMUS_CRC32C_TARGET

// x to the power of `bits`.
constexpr std::uint32_t power(std::size_t bits) {
  std::uint32_t result = 1U << 31;
  std::uint32_t square = times_x(result);
  for (; bits != 0; bits >>= 1) {
    if ((bits & 1) != 0) result = product(result, square);
    square = product(square, square);
  }
  return result;
}

// What `bytes` zeros behind it make of a crc.
struct Behind {
  std::array<Table, 4> parts{};

  constexpr explicit Behind(std::size_t bytes) {
    const std::uint32_t shift = power(bytes * 8);
    for (std::size_t k = 0; k < 4; ++k)
      for (std::uint32_t i = 0; i < 256; ++i) parts[k][i] = product(shift, i << (8 * k));
  }
  std::uint32_t operator()(std::uint32_t crc) const {
    return parts[0][crc & 0xff] ^ parts[1][(crc >> 8) & 0xff] ^ parts[2][(crc >> 16) & 0xff] ^
           parts[3][crc >> 24];
  }
};

constexpr std::size_t long_stretch = 4096;
constexpr std::size_t short_stretch = 256;
constexpr Behind behind_long(long_stretch);
constexpr Behind behind_short(short_stretch);

ISTHMUS_CRC32C_TARGET inline std::uint32_t step(std::uint32_t crc, const std::byte* at) {
#if defined(__x86_64__)
  return static_cast<std::uint32_t>(_mm_crc32_u64(crc, load<std::uint64_t>(at)));
#else
  return __crc32cd(crc, load<std::uint64_t>(at));
#endif
}

ISTHMUS_CRC32C_TARGET inline std::uint32_t small_step(std::uint32_t crc, const std::byte* at) {
#if defined(__x86_64__)
  return _mm_crc32_u8(crc, std::to_integer<std::uint8_t>(*at));
#else
  return __crc32cb(crc, std::to_integer<std::uint8_t>(*at));
#endif
}

template <std::size_t stretch>
ISTHMUS_CRC32C_TARGET std::uint32_t three_stretches(std::uint32_t crc, const std::byte*& at,
                                                    const std::byte* end, const Behind& behind) {
  while (static_cast<std::size_t>(end - at) >= 3 * stretch) {
    std::uint32_t second = 0, third = 0;
    for (std::size_t i = 0; i < stretch; i += 8) {
      crc = step(crc, at + i);
      second = step(second, at + stretch + i);
      third = step(third, at + 2 * stretch + i);
    }
    crc = behind(behind(crc) ^ second) ^ third;
    at += 3 * stretch;
  }
  return crc;
}

ISTHMUS_CRC32C_TARGET std::uint32_t by_instruction(std::uint32_t crc, ByteView bytes) {
  const std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size();
  crc = three_stretches<long_stretch>(crc, at, end, behind_long);
  crc = three_stretches<short_stretch>(crc, at, end, behind_short);
  for (; end - at >= 8; at += 8) crc = step(crc, at);
  for (; at != end; ++at) crc = small_step(crc, at);
  return crc;
}

bool has_instruction() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("sse4.2") != 0;
#else
  return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#endif
}

#if defined(__x86_64__)

#define ISTHMUS_FOLDING_TARGET __attribute__((target("sse4.2,pclmul,avx512f,vpclmulqdq")))

constexpr std::size_t folded_bytes = 256;
constexpr std::uint64_t fold_first = std::uint64_t{power(folded_bytes * 8 + 32)} << 1;
constexpr std::uint64_t fold_second = std::uint64_t{power(folded_bytes * 8 - 32)} << 1;

ISTHMUS_FOLDING_TARGET inline __m512i fold(__m512i x, __m512i by, const std::byte* next) {
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, by, 0x00),
                                   _mm512_clmulepi64_epi128(x, by, 0x11), _mm512_loadu_si512(next),
                                   0x96);  // the sum of the three
}

ISTHMUS_FOLDING_TARGET std::uint32_t by_folding(std::uint32_t crc, ByteView bytes) {
  if (bytes.size() < 4 * folded_bytes) return by_instruction(crc, bytes);
  const std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size();
  const auto second = static_cast<long long>(fold_second),
             first = static_cast<long long>(fold_first);
  const __m512i by = _mm512_set_epi64(second, first, second, first, second, first, second, first);
  __m512i a = _mm512_xor_si512(_mm512_loadu_si512(at), _mm512_set_epi64(0, 0, 0, 0, 0, 0, 0, crc));
  __m512i b = _mm512_loadu_si512(at + 64);
  __m512i c = _mm512_loadu_si512(at + 128);
  __m512i d = _mm512_loadu_si512(at + 192);
  for (at += folded_bytes; static_cast<std::size_t>(end - at) >= folded_bytes; at += folded_bytes) {
    a = fold(a, by, at);
    b = fold(b, by, at + 64);
    c = fold(c, by, at + 128);
    d = fold(d, by, at + 192);
  }
  std::array<std::byte, folded_bytes> left;
  _mm512_storeu_si512(left.data(), a);
  _mm512_storeu_si512(left.data() + 64, b);
  _mm512_storeu_si512(left.data() + 128, c);
  _mm512_storeu_si512(left.data() + 192, d);
  return by_instruction(by_instruction(0, left), ByteView(at, end));
}

bool has_folding() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("vpclmulqdq") != 0 &&
         __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.2") != 0;
}

#else

std::uint32_t by_folding(std::uint32_t crc, ByteView bytes) {
  return by_instruction(crc, bytes);
}

bool has_folding() {
  return false;
}

#endif

#else

std::uint32_t by_folding(std::uint32_t crc, ByteView bytes) {
  return by_tables(crc, bytes);
}

bool has_folding() {
  return false;
}

std::uint32_t by_instruction(std::uint32_t crc, ByteView bytes) {
  return by_tables(crc, bytes);
}

bool has_instruction() {
  return false;
}

#endif

}  // namespace

bool has_crc32c_way(int way) {
  static const std::array<bool, 3> has{true, has_instruction(), has_folding()};
  return way >= tables && way <= folding && has[static_cast<std::size_t>(way)];
}

std::uint32_t extend_crc32c_by(int way, std::uint32_t crc, ByteView bytes) {
  if (way == folding) return ~by_folding(~crc, bytes);
  return ~(way == instruction ? by_instruction(~crc, bytes) : by_tables(~crc, bytes));
}

std::uint32_t extend_crc32c(std::uint32_t crc, ByteView bytes) {
  static const int best = has_crc32c_way(folding)       ? folding
                          : has_crc32c_way(instruction) ? instruction
                                                        : tables;
  return extend_crc32c_by(best, crc, bytes);
}

std::uint32_t crc32c(ByteView bytes) {
  return extend_crc32c(0, bytes);
}

}  // namespace isthmus
