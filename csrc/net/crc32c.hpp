// CRC-32C (Castagnoli, reflected, as in RFC 3720): finds bytes that changed by themselves, not an
// enemy, who can compute it as well.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"

namespace isthmus {

std::uint32_t crc32c(ByteView bytes);
// Of what `crc` is of, and then these: crc32c(bytes) is extend_crc32c(0, bytes).
std::uint32_t extend_crc32c(std::uint32_t crc, ByteView bytes);

// The same by each way of those that this machine has, for tests.
enum Crc32cWay : int { tables, instruction, folding };  // each is faster than the one before
bool has_crc32c_way(int way);
std::uint32_t extend_crc32c_by(int way, std::uint32_t crc, ByteView bytes);

}  // namespace isthmus
