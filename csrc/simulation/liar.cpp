// A lying peer: its frames are well formed and wrong. What is plausible in every respect but false
// cannot be noticed by anybody, so every lie here is one that a careful receiver can see through.
#include <algorithm>
#include <array>
#include <memory>

#include "base/random.hpp"
#include "net/frame.hpp"
#include "simulation/tampering.hpp"
#include "simulation/world.hpp"

namespace isthmus {
namespace {

constexpr std::uint64_t lies_one_in = 3;

class Liar {
 public:
  Liar(Lie lie, std::uint64_t seed, std::uint64_t& told) : lie_(lie), random_(seed), told_(told) {}

  void change(std::vector<std::byte>& segment) {
    each_frame(segment, [&](std::ptrdiff_t at) { return change_frame(segment, at); });
  }

 private:
  // Returns where to look for the next frame.
  std::ptrdiff_t change_frame(std::vector<std::byte>& segment, std::ptrdiff_t at) {
    const auto begin = segment.begin() + at;
    const std::ptrdiff_t next = at + static_cast<std::ptrdiff_t>(header_bytes);
    HeaderBytes bytes;
    std::copy_n(begin, header_bytes, bytes.begin());
    const auto header = parse_header(bytes);
    const bool worth_it =
        header.ok() && (header->kind == Kind::slice || header->kind == Kind::announce);
    if (!worth_it || !random_.one_in(lies_one_in)) return next;
    if (lie_ == Lie::twice) {
      const std::ptrdiff_t length = next - at + static_cast<std::ptrdiff_t>(header->length);
      if (segment.end() - begin < length) return next;
      const std::vector<std::byte> frame(begin, begin + length);
      segment.insert(begin, frame.begin(), frame.end());
      ++told_;
      return at + 2 * length;
    }
    if (lie_ == Lie::garbage) {
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_.below(256));
    } else if (header->kind == Kind::slice) {
      bytes = to_bytes(false_header(*header));
    } else {
      return next;
    }
    std::copy(bytes.begin(), bytes.end(), begin);
    ++told_;
    return next;
  }

  Header false_header(Header header) {
    switch (lie_) {
      case Lie::offset:
        header.offset ^= random_.one_in(2) ? 1 : std::uint64_t{1} << 62;
        break;
      case Lie::length:
        header.length += 4;
        break;
      case Lie::transfer:
        header.transfer += random_.one_in(2) ? 1000 : 1U << 31;
        break;
      case Lie::operation:
        header.operation =
            random_.one_in(3) ? 0 : header.operation + (random_.one_in(2) ? 1000 : 100'000);
        break;
      case Lie::source:
        header.source ^= 1;
        break;
      case Lie::garbage:
      case Lie::twice:
        break;
    }
    return header;
  }

  Lie lie_;
  Random random_;
  std::uint64_t& told_;
};

}  // namespace

Tamper make_liar(Lie lie, std::uint64_t seed, const Clock& clock, std::int64_t from_ns,
                 std::uint64_t& told) {
  return [liar = std::make_shared<Liar>(lie, seed, told), &clock,
          from_ns](std::vector<std::byte>& segment) {
    if (clock.now_ns() >= from_ns) liar->change(segment);
  };
}

}  // namespace isthmus
