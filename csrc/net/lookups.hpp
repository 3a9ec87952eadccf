// Lookups: names of hosts, looked up beside the thread that asks, for a name server may take long.
//
// A name that is being looked up is looked up once, however often it is asked for; so a thread that
// dials again and again costs one that waits.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "net/address.hpp"

namespace isthmus {

using Resolver = std::function<Result<SocketAddress>(const std::string& address)>;

// One of them. Its end is announced by `wake`.
class Lookup {
 public:
  bool done() const { return done_.load(std::memory_order_acquire); }
  // REQUIRES: done(). Not ok: PeerLost, for it may be found later.
  const Result<SocketAddress>& found() const { return found_; }

 private:
  friend class Lookups;
  Result<SocketAddress> found_ = SocketAddress{};
  std::atomic<bool> done_ = false;
};

class Lookups {
 public:
  static constexpr std::size_t most = 16;  // at a time

  // `wake` is called from other threads, and never once this object is gone. An empty resolver is
  // the system's.
  Lookups(Resolver resolver, std::function<void()> wake);
  // Waits for nobody: what is under way ends by itself, and nobody hears of it.
  ~Lookups();
  Lookups(const Lookups&) = delete;
  Lookups& operator=(const Lookups&) = delete;

  // From one thread at a time. Numbers are done at once, and so is what prepare() has found, once.
  std::shared_ptr<const Lookup> begin(const std::string& address);
  // Looks the name up here and now, for the begin() that follows.
  void prepare(const std::string& address);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace isthmus
