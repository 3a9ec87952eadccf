#include "simulation/tampering.hpp"

#include <algorithm>
#include <array>

#include "base/bytes.hpp"
#include "net/crc32c.hpp"
#include "net/frame.hpp"

namespace isthmus {
namespace {

constexpr std::size_t count_at = header_bytes + 2;  // of the slices that came, in a `broken`

class Saboteur {
 public:
  Saboteur(Sabotage kind, std::function<void()> made) : kind_(kind), made_(std::move(made)) {}

  void change(std::vector<std::byte>& segment) {
    each_frame(segment, [&](std::ptrdiff_t at) {
      change_frame(ByteSpan(segment).subspan(static_cast<std::size_t>(at)));
      return at + static_cast<std::ptrdiff_t>(header_bytes);
    });
  }

 private:
  void change_frame(ByteSpan rest) {
    HeaderBytes bytes;
    std::copy_n(rest.begin(), header_bytes, bytes.begin());
    auto header = parse_header(bytes);
    if (!header.ok()) return;
    if (kind_ == Sabotage::unchecked) {
      if (header->kind != Kind::slice) return;
      header->payload_check = 0;
    } else {
      if (header->kind != Kind::broken || rest.size() < header_bytes + header->length) return;
      const auto count = load<std::uint64_t>(rest.data() + count_at);
      if (count + 1 == 0 || (kind_ == Sabotage::sent_twice && count == 0)) return;
      store(rest.data() + count_at, kind_ == Sabotage::unsent ? count + 1 : count - 1);
      header->payload_check = extend_crc32c(0, rest.subspan(header_bytes, header->length));
    }
    bytes = to_bytes(*header);
    std::ranges::copy(bytes, rest.begin());
    made_();
  }

  Sabotage kind_;
  std::function<void()> made_;
};

}  // namespace

void each_frame(const std::vector<std::byte>& segment,
                const std::function<std::ptrdiff_t(std::ptrdiff_t at)>& call) {
  std::array<std::byte, sizeof frame_magic> magic;
  store(magic.data(), frame_magic);
  std::ptrdiff_t at = 0;
  while (true) {
    at = std::search(segment.begin() + at, segment.end(), magic.begin(), magic.end()) -
         segment.begin();
    if (std::ssize(segment) - at < static_cast<std::ptrdiff_t>(header_bytes)) return;
    at = call(at);
  }
}

bool is_on_the_wire(Sabotage kind) {
  return kind == Sabotage::unchecked || kind == Sabotage::unsent || kind == Sabotage::sent_twice;
}

Tamper make_saboteur(Sabotage kind, std::function<void()> made) {
  return [saboteur = Saboteur(kind, std::move(made))](std::vector<std::byte>& segment) mutable {
    saboteur.change(segment);
  };
}

}  // namespace isthmus
