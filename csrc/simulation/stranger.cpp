#include "simulation/stranger.hpp"

#include "net/frame.hpp"

namespace isthmus {

std::string address_of(int host, int port) {
  return "site" + std::to_string(host) + ":" + std::to_string(port);
}

Stranger::Stranger(Network& network, const WorldPlan& plan, int number)
    : network_(network),
      random_(mix(plan.seed * 128 + static_cast<std::uint64_t>(number) + 77)),
      come_ns_(random_.between<std::int64_t>(0, plan.begin_ns() + second_ns)) {
  const auto host = static_cast<int>(random_.below(static_cast<std::uint64_t>(plan.world()) + 1));
  address_ = address_of(host, host == plan.world() ? coordinator_port : site_port);
  draw_words();
}

std::int64_t Stranger::step(std::int64_t now_ns) {
  if (now_ns < come_ns_) return come_ns_;
  if (!came_) {
    came_ = true;
    auto stream = network_.connect(address_);
    if (stream.ok()) stream_ = std::move(*stream);
  }
  if (!stream_ || words_.empty()) return never_ns;
  const ByteView rest(words_);
  const auto wrote = stream_->write(std::span(&rest, 1));
  if (!wrote.ok())
    words_.clear();
  else
    words_.erase(words_.begin(), words_.begin() + static_cast<std::ptrdiff_t>(*wrote));
  return never_ns;
}

void Stranger::draw_words() {
  constexpr std::size_t most_garbage = 300;
  Header header;
  switch (random_.below(5)) {
    case 0:
      return;  // silent
    case 1:
      words_.resize(random_.between<std::size_t>(1, most_garbage));
      for (std::byte& byte : words_) byte = static_cast<std::byte>(random_.below(256));
      return;
    case 2:
      header.kind = Kind::hello;
      header.run = random_.next();
      break;
    case 3:
      header.kind = Kind::slice;
      header.length = max_payload_bytes;
      break;
    default:
      header.kind = Kind::join;
      header.length = 1;
  }
  const HeaderBytes bytes = to_bytes(header);
  words_.assign(bytes.begin(), bytes.end());
  if (random_.one_in(2)) words_.resize(random_.between<std::size_t>(1, header_bytes));
}

}  // namespace isthmus
