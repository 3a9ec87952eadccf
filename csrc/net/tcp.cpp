#include "net/tcp.hpp"

#include <linux/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/check.hpp"
#include "net/address.hpp"

namespace isthmus {
namespace {

constexpr std::size_t max_pieces = 8;
constexpr int keepalive_seconds = 15;
// The kernel doubles what is asked.
constexpr int send_buffer_bytes = 4 << 20;
// Within a machine no delay has to be filled, and what is on its way should still lie in a cache
// when it is read: three slices of float32 (the kernel doubles it). With 4 MiB, four ranks took 1.4
// times as long (bench/exchange.py).
constexpr int local_send_buffer_bytes = 192 << 10;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  int fd() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

std::string error_text(int error) {
  return std::strerror(error);
}

template <class Spans>
std::size_t to_iovec(const Spans& pieces, std::array<iovec, max_pieces>& out, std::size_t& total) {
  ISTHMUS_CHECK(pieces.size() <= max_pieces);
  std::size_t count = 0;
  for (const auto& piece : pieces) {
    if (piece.empty()) continue;
    out[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};
    total += piece.size();
  }
  return count;
}

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

int get_option(int fd, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, level, name, &value, &size) == 0 ? value : 0;
}

// About a quarter of a send buffer is the kernel's own books. 0: not known.
std::int64_t window_bytes(std::int64_t send_buffer, std::int64_t peer_window) {
  const std::int64_t payload = send_buffer / 4 * 3;
  return peer_window == 0 ? payload : std::min(payload, peer_window);
}

// Whether its congestion control models the path, as BBR does: its window then follows the rate,
// and does not hold it back.
bool models_path(int fd) {
  std::array<char, 16> name{};
  socklen_t size = name.size();
  return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) == 0 &&
         std::string_view(name.data()).starts_with("bbr");
}

void tune(int fd, const TcpOptions& options, int send_buffer, bool local) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (local) send_buffer = local_send_buffer_bytes;
  if (send_buffer > 0) set_option(fd, SOL_SOCKET, SO_SNDBUF, send_buffer);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
             static_cast<int>(options.user_timeout_ns / millisecond_ns));
  // A NAT that hears nothing forgets a connection, and a dead one is found before it is needed.
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_seconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive_seconds);
  if (!local && !options.congestion.empty())  // a kernel without it keeps its default
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, options.congestion.data(),
               static_cast<socklen_t>(options.congestion.size()));
}

struct Dialling {
  TcpOptions options{};
  int send_buffer = 0;
};

class TcpStream final : public Stream {
 public:
  // That was accepted.
  TcpStream(Reactor& reactor, Socket socket, std::string peer)
      : reactor_(reactor), socket_(std::move(socket)), peer_(std::move(peer)), connected_(true) {
    reactor_.watch(socket_.fd(), &readiness_);
  }
  // That connects once the name is found.
  TcpStream(Reactor& reactor, std::shared_ptr<const Lookup> lookup, std::string peer, Dialling how)
      : reactor_(reactor),
        socket_(-1),
        peer_(std::move(peer)),
        lookup_(std::move(lookup)),
        how_(std::move(how)) {}
  ~TcpStream() override {
    if (socket_.valid()) reactor_.unwatch(socket_.fd());
  }

  // REQUIRES: the lookup is done. Not ok: there is no socket, or nobody there.
  Status dial() {
    const auto lookup = std::exchange(lookup_, nullptr);
    if (!lookup->found().ok()) return lookup->found().status();
    const SocketAddress& to = *lookup->found();
    socket_ = Socket(::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket_.valid()) return internal_error("cannot make a socket: " + error_text(errno));
    tune(socket_.fd(), how_.options, how_.send_buffer, is_loopback(to));
    connected_ = ::connect(socket_.fd(), to.get(), to.size) == 0;
    if (!connected_ && errno != EINPROGRESS)
      return peer_lost("cannot connect to " + peer_ + ": " + error_text(errno));
    reactor_.watch(socket_.fd(), &readiness_);
    return {};
  }

  Result<std::size_t> write(std::span<const ByteView> pieces) override {
    if (auto s = check_connected(); !s.ok()) return s;
    if (!readiness_.writable) return std::size_t{0};
    std::array<iovec, max_pieces> vectors;
    std::size_t asked = 0;
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = to_iovec(pieces, vectors, asked);
    const ssize_t moved = sendmsg(socket_.fd(), &message, MSG_NOSIGNAL);
    if (moved < 0 && errno != EAGAIN && errno != EINTR) return broken(errno);
    const auto count = static_cast<std::size_t>(std::max<ssize_t>(0, moved));
    if (count < asked) readiness_.writable = false;
    return count;
  }

  Result<std::size_t> read(std::span<const ByteSpan> pieces) override {
    if (auto s = check_connected(); !s.ok()) return s;
    if (!readiness_.readable) return std::size_t{0};
    std::array<iovec, max_pieces> vectors;
    std::size_t asked = 0;
    const std::size_t count = to_iovec(pieces, vectors, asked);
    const ssize_t moved = readv(socket_.fd(), vectors.data(), static_cast<int>(count));
    if (moved == 0 && asked > 0) return peer_lost("the connection to " + peer_ + " was closed");
    if (moved < 0 && errno != EAGAIN && errno != EINTR) return broken(errno);
    // A short read does not clear the hint: the end of the stream may have been announced by the
    // same event.
    if (moved < 0) readiness_.readable = errno == EINTR;
    return static_cast<std::size_t>(std::max<ssize_t>(0, moved));
  }

  bool can_read() const override { return readiness_.readable; }
  bool can_write() const override {
    return readiness_.writable || (lookup_ != nullptr && lookup_->done());
  }
  bool connected() const override { return connected_; }
  bool ended() const override {
    if (!socket_.valid()) return !broken_.ok();
    pollfd asked{.fd = socket_.fd(), .events = POLLRDHUP, .revents = 0};
    return poll(&asked, 1, 0) > 0 && (asked.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
  }
  void keep_unsent(int bytes) override {
    set_option(socket_.fd(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, bytes);
  }
  void shut_write() override { ::shutdown(socket_.fd(), SHUT_WR); }
  std::string peer_address() const override { return peer_; }

  // An older kernel fills less of it; the rest stays zero.
  PathInfo path() const override {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (getsockopt(socket_.fd(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
    constexpr std::uint32_t no_min_rtt = ~std::uint32_t{0};
    const std::int64_t min_rtt_us = info.tcpi_min_rtt == no_min_rtt ? 0 : info.tcpi_min_rtt;
    return {.rtt_ns = std::int64_t{info.tcpi_rtt} * 1000,
            .min_rtt_ns = min_rtt_us * 1000,
            .retransmits = info.tcpi_total_retrans,
            .segments = info.tcpi_data_segs_out,
            .bytes_acked = info.tcpi_bytes_acked,
            .bytes_delivered = std::uint64_t{info.tcpi_delivered} * info.tcpi_snd_mss,
            .busy_ns = static_cast<std::int64_t>(info.tcpi_busy_time) * 1000,
            .delivery_bits_per_s = static_cast<double>(info.tcpi_delivery_rate) * 8,
            .segment_bytes = static_cast<int>(info.tcpi_snd_mss),
            .window_bytes = window_bytes(get_option(socket_.fd(), SOL_SOCKET, SO_SNDBUF),
                                         std::int64_t{info.tcpi_snd_wnd}),
            .congestion_bytes = models_path(socket_.fd())
                                    ? 0
                                    : std::int64_t{info.tcpi_snd_cwnd} * info.tcpi_snd_mss};
  }

 private:
  Status broken(int error) const {
    return peer_lost("the connection to " + peer_ + " broke: " + error_text(error));
  }

  Status check_connected() {
    if (!broken_.ok()) return broken_;
    if (lookup_ != nullptr && lookup_->done()) broken_ = dial();
    if (!broken_.ok()) return broken_;
    if (connected_ || !readiness_.writable) return {};
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket_.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return peer_lost("cannot connect to " + peer_ + ": " + error_text(error));
    connected_ = true;
    return {};
  }

  Reactor& reactor_;
  Socket socket_;
  std::string peer_;
  bool connected_ = false;
  Readiness readiness_;
  std::shared_ptr<const Lookup> lookup_{};  // under way, or not looked at yet; null: over
  Dialling how_{};
  Status broken_{};  // before it stood
};

// To how much the kernel grows a send buffer by itself, in bytes of its own books.
int grown_buffer() {
  constexpr int stock = 4 << 20;
  std::FILE* file = std::fopen("/proc/sys/net/ipv4/tcp_wmem", "r");
  if (file == nullptr) return stock;
  int most = stock;
  if (std::fscanf(file, "%*d %*d %d", &most) != 1) most = stock;
  std::fclose(file);
  return most;
}

// What to ask for a send buffer, which then grows no more: nothing where the kernel, by itself,
// goes further than it grants. That is 416 KiB on many (net.core.wmem_max), 33 Mbit/s at 100 ms.
int send_buffer_to_ask() {
  const Socket trial(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!trial.valid()) return 0;
  set_option(trial.fd(), SOL_SOCKET, SO_SNDBUF, send_buffer_bytes);
  const int granted = get_option(trial.fd(), SOL_SOCKET, SO_SNDBUF);
  return granted > grown_buffer() ? send_buffer_bytes : 0;
}

class TcpListener final : public Listener {
 public:
  TcpListener(Reactor& reactor, TcpOptions options, int send_buffer, Socket socket,
              std::string address)
      : reactor_(reactor),
        options_(std::move(options)),
        send_buffer_(send_buffer),
        socket_(std::move(socket)),
        address_(std::move(address)) {
    reactor_.watch(socket_.fd(), &readiness_);
  }
  ~TcpListener() override { reactor_.unwatch(socket_.fd()); }

  std::unique_ptr<Stream> accept() override {
    if (!readiness_.readable) return nullptr;
    SocketAddress from;
    from.size = sizeof from.storage;
    Socket got(accept4(socket_.fd(), reinterpret_cast<sockaddr*>(&from.storage), &from.size,
                       SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!got.valid()) {
      if (errno == EAGAIN) readiness_.readable = false;
      return nullptr;
    }
    tune(got.fd(), options_, send_buffer_, is_loopback(from));
    return std::make_unique<TcpStream>(reactor_, std::move(got), to_text(from));
  }
  std::string address() const override { return address_; }

 private:
  Reactor& reactor_;
  TcpOptions options_;
  int send_buffer_;
  Socket socket_;
  std::string address_;
  Readiness readiness_;
};

Result<SocketAddress> local_name(int fd) {
  SocketAddress name;
  name.size = sizeof name.storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name.storage), &name.size) != 0)
    return internal_error("getsockname: " + error_text(errno));
  return name;
}

}  // namespace

TcpNetwork::TcpNetwork(Reactor& reactor, TcpOptions options)
    : reactor_(reactor),
      options_(std::move(options)),
      send_buffer_(send_buffer_to_ask()),
      lookups_(options_.resolver, [&reactor] { reactor.post([] {}); }) {}

Result<std::unique_ptr<Stream>> TcpNetwork::connect(const std::string& address) {
  // Nonsense is known as such at once.
  if (const auto parts = split_address(address); !parts.ok()) return parts.status();
  auto lookup = lookups_.begin(address);
  const bool known = lookup->done();
  auto stream = std::make_unique<TcpStream>(reactor_, std::move(lookup), address,
                                            Dialling{options_, send_buffer_});
  if (known)
    if (auto s = stream->dial(); !s.ok()) return s;
  return std::unique_ptr<Stream>(std::move(stream));
}

Result<std::unique_ptr<Listener>> TcpNetwork::listen(const std::string& address) {
  const auto at = resolve(address, true);
  if (!at.ok()) return at.status();
  Socket socket(::socket(at->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return internal_error("cannot make a socket: " + error_text(errno));
  set_option(socket.fd(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(socket.fd(), at->get(), at->size) != 0 || ::listen(socket.fd(), 512) != 0)
    return refused("cannot listen at " + address + ": " + error_text(errno) +
                   (errno == EADDRINUSE
                        ? "; end the program that has this port, or choose another port (0: any)"
                        : "; choose an address of this machine"));
  const auto name = local_name(socket.fd());
  if (!name.ok()) return name.status();
  return std::unique_ptr<Listener>(std::make_unique<TcpListener>(
      reactor_, options_, send_buffer_, std::move(socket), to_text(*name)));
}

Result<std::string> TcpNetwork::address_towards(const std::string& remote) {
  const auto to = resolve(remote, false);
  if (!to.ok()) return to.status();
  // Connecting a datagram socket sends nothing; it only asks the kernel for the route.
  const Socket socket(::socket(to->family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid() || ::connect(socket.fd(), to->get(), to->size) != 0)
    return refused("no route to " + remote + ": " + error_text(errno));
  const auto name = local_name(socket.fd());
  if (!name.ok()) return name.status();
  const std::string host = host_text(*name);
  return name->family() == AF_INET6 ? "[" + host + "]" : host;
}

}  // namespace isthmus
