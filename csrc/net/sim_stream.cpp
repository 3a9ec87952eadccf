// The ends of the simulated world: dialling, listening, and the Stream and Listener that actors
// hold.
#include "net/sim_stream.hpp"

#include <charconv>

namespace isthmus::sim {
namespace {

constexpr std::size_t backlog_limit = 128;
constexpr std::int64_t dial_again_ns = second_ns;
constexpr int first_dialling_port = 49152;
constexpr int dialling_ports = 16384;

struct Place {
  std::string host;
  int port = 0;
};

std::string to_text(int host, int port) {
  return "site" + std::to_string(host) + ":" + std::to_string(port);
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<Place> split(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto port = number(std::string_view(address).substr(colon + 1));
  if (!port || *port > 0xffff) return std::nullopt;
  return Place{address.substr(0, colon), *port};
}

std::optional<int> host_number(const std::string& name) {
  if (!name.starts_with("site")) return std::nullopt;
  return number(std::string_view(name).substr(4));
}

class SimStream final : public Stream {
 public:
  SimStream(std::shared_ptr<World> world, Way way)
      : world_(std::move(world)), way_(std::move(way)) {}
  ~SimStream() override { world_->let_go(way_); }

  Result<std::size_t> write(std::span<const ByteView> pieces) override {
    const Endpoint& end = way_.writer();
    if (shut_) return internal_error("a write after shut_write()");
    if (!end.broken.ok()) return end.broken;
    if (!end.connected || !end.writable) return std::size_t{0};
    return world_->write(way_, pieces);
  }

  Result<std::size_t> read(std::span<const ByteSpan> pieces) override {
    Endpoint& end = way_.writer();
    if (!end.readable) return std::size_t{0};
    const std::size_t moved = world_->read(way_.back(), pieces);
    const bool asked = std::any_of(pieces.begin(), pieces.end(), [](auto p) { return !p.empty(); });
    if (moved == 0 && asked && !end.ended.ok()) return end.ended;
    return moved;
  }

  bool can_read() const override { return way_.writer().readable; }
  bool can_write() const override { return way_.writer().writable; }
  bool connected() const override { return way_.writer().connected; }
  bool ended() const override { return !way_.writer().ended.ok() || !way_.writer().broken.ok(); }

  void shut_write() override {
    if (!std::exchange(shut_, true)) world_->end_with(way_, Ending::finished);
  }

  PathInfo path() const override {
    const std::int64_t one_way = world_->path(way_.writer().host, way_.reader().host).latency_ns;
    return {
        .rtt_ns = 2 * one_way, .min_rtt_ns = 2 * one_way, .retransmits = way_.pipe().retransmits};
  }
  std::string peer_address() const override { return way_.reader().address; }

 private:
  std::shared_ptr<World> world_;
  Way way_;
  bool shut_ = false;
};

class SimListener final : public Listener {
 public:
  SimListener(std::shared_ptr<World> world, std::string address, std::uint32_t life)
      : world_(std::move(world)), address_(std::move(address)), life_(life) {}
  ~SimListener() override { world_->close_listener(address_, life_); }
  std::unique_ptr<Stream> accept() override { return world_->accept(address_, life_); }
  std::string address() const override { return address_; }

 private:
  std::shared_ptr<World> world_;
  std::string address_;
  std::uint32_t life_;
};

}  // namespace

Result<std::unique_ptr<Stream>> SimNetwork::connect(const std::string& address) {
  return world_->connect(host_, address);
}

Result<std::unique_ptr<Listener>> SimNetwork::listen(const std::string& address) {
  return world_->listen(host_, address);
}

Result<std::unique_ptr<Stream>> World::connect(int from, const std::string& address) {
  const auto place = split(address);
  if (!place || place->port == 0) return refused("\"" + address + "\" is no host:port");
  const int to = host_number(place->host).value_or(from);
  if (to >= settings.sites) return refused("no host is named " + place->host);
  auto connection = std::make_shared<Connection>();
  connection->id = next_connection_++;
  connection->dialled = to_text(to, place->port);
  connection->ends[0].host = from;
  connection->ends[1].host = to;
  const int port = first_dialling_port + static_cast<int>(connection->id) % dialling_ports;
  connection->ends[0].address = to_text(from, port);
  connection->ends[1].address = connection->dialled;
  connections[connection->id] = connection;
  note("connect", connection->id, static_cast<std::uint64_t>(to));
  connection->timeout = schedule(now_ns_ + settings.connect_timeout_ns, [this, connection] {
    connection->timeout.reset();
    fail_connect(connection, "timed out");
  });
  dial(connection);
  return std::unique_ptr<Stream>(
      std::make_unique<SimStream>(shared_from_this(), Way{connection, 0}));
}

void World::dial(const ConnectionPtr& connection) {
  carry(connection->ends[0].host, connection->ends[1].host, [this, connection] {
    if (connection->ends[0].held) answer(connection);
  });
}

void World::answer(const ConnectionPtr& connection) {
  const int to = connection->ends[1].host;
  const Host& h = host(to);
  const int from = connection->ends[0].host;
  const Dialling dialling = path(from, to).dialling;
  if (!h.dialable && !h.refuses && from != to) return;
  if (dialling == Dialling::unanswered) return;
  const auto listener = listeners.find(connection->dialled);
  const bool refuses = (!h.dialable && from != to) || dialling == Dialling::refused;
  if (refuses || listener == listeners.end())
    return carry(to, from, [this, connection] { fail_connect(connection, "connection refused"); });
  if (listener->second.waiting.size() >= backlog_limit) {
    schedule(now_ns_ + dial_again_ns, [this, connection] { dial(connection); });
    return;
  }
  carry(to, from, [this, connection, from, to] {
    Endpoint& end = connection->ends[0];
    if (!end.held || !end.ended.ok()) return;
    cancel(connection->timeout);
    end.connected = end.writable = true;
    wake(from);
    carry(from, to, [this, connection] { stand(connection); });
    if (const Way way{connection, 0}; way.pipe().closing != Ending::none)
      end_with(way, way.pipe().closing);
  });
}

// The connection stands at the listener's side too.
void World::stand(const ConnectionPtr& connection) {
  Endpoint& end = connection->ends[1];
  end.connected = end.writable = true;
  const auto listener = listeners.find(connection->dialled);
  note("stand", connection->id, listener != listeners.end());
  if (listener == listeners.end()) {
    end.held = false;
    return end_with({connection, 1}, Ending::reset);
  }
  listener->second.waiting.push_back(connection);
  wake(end.host);
}

void World::fail_connect(const ConnectionPtr& connection, const std::string& why) {
  Endpoint& end = connection->ends[0];
  if (end.connected || !end.ended.ok()) return;
  cancel(connection->timeout);
  note("fail", connection->id, why.size());
  end.ended = end.broken = peer_lost("cannot connect to " + connection->dialled + ": " + why);
  end.readable = end.writable = true;
  wake(end.host);
}

Result<std::unique_ptr<Listener>> World::listen(int at, const std::string& address) {
  const auto place = split(address);
  if (!place) return refused("\"" + address + "\" is no host:port");
  if (host_number(place->host).value_or(at) != at)
    return refused("cannot listen at " + address + ": choose an address of this machine");
  int port = place->port;
  while (port == 0) {
    port = host(at).next_port++;
    if (listeners.contains(to_text(at, port))) port = 0;
  }
  const std::string name = to_text(at, port);
  if (listeners.contains(name)) return refused("cannot listen at " + name + ": it is in use");
  const std::uint32_t life = host(at).life;
  listeners[name] = Backlog{at, life, {}};
  note("listen", static_cast<std::uint64_t>(at), static_cast<std::uint64_t>(port));
  return std::unique_ptr<Listener>(std::make_unique<SimListener>(shared_from_this(), name, life));
}

std::unique_ptr<Stream> World::accept(const std::string& address, std::uint32_t life) {
  const auto listener = listeners.find(address);
  if (listener == listeners.end() || listener->second.life != life) return nullptr;
  if (listener->second.waiting.empty()) return nullptr;
  const ConnectionPtr connection = listener->second.waiting.front();
  listener->second.waiting.pop_front();
  return std::make_unique<SimStream>(shared_from_this(), Way{connection, 1});
}

void World::close_listener(const std::string& address, std::uint32_t life) {
  const auto listener = listeners.find(address);
  if (listener == listeners.end() || listener->second.life != life) return;
  const std::deque<ConnectionPtr> waiting = std::move(listener->second.waiting);
  listeners.erase(listener);
  for (const ConnectionPtr& connection : waiting) {
    connection->ends[1].held = false;
    end_with({connection, 1}, Ending::reset);
  }
}

}  // namespace isthmus::sim
