#include "net/lookups.hpp"

#include <map>
#include <mutex>
#include <system_error>
#include <thread>

namespace isthmus {

// Threads that look something up hold it, too: they may outlive the Lookups.
struct Lookups::State {
  Resolver resolver;
  std::map<std::string, SocketAddress> prepared{};  // of the thread that asks
  std::mutex mutex{};
  std::function<void()> wake{};  // empty: nobody is left to wake
  std::map<std::string, std::shared_ptr<Lookup>> under_way{};

  static void end(Lookup& lookup, Result<SocketAddress> found) {
    // Another try may find it: to whoever dials it is as if nobody were there.
    lookup.found_ = found.ok() ? std::move(found) : peer_lost(found.status().text);
    lookup.done_.store(true, std::memory_order_release);
  }

  void look_up(const std::string& address) {
    auto found = resolver(address);
    const std::lock_guard lock(mutex);
    const auto it = under_way.find(address);
    end(*it->second, std::move(found));
    under_way.erase(it);
    if (wake) wake();
  }
};

Lookups::Lookups(Resolver resolver, std::function<void()> wake)
    : state_(std::make_shared<State>()) {
  if (!resolver) resolver = [](const std::string& address) { return resolve(address, false); };
  state_->resolver = std::move(resolver);
  state_->wake = std::move(wake);
}

Lookups::~Lookups() {
  const std::lock_guard lock(state_->mutex);
  state_->wake = {};
}

std::shared_ptr<const Lookup> Lookups::begin(const std::string& address) {
  auto lookup = std::make_shared<Lookup>();
  const auto known = numeric(address);
  const auto kept = state_->prepared.find(address);
  if (known || kept != state_->prepared.end()) {
    State::end(*lookup, known ? *known : kept->second);
    if (!known) state_->prepared.erase(kept);
    return lookup;
  }
  const std::lock_guard lock(state_->mutex);
  const auto [it, is_new] = state_->under_way.try_emplace(address, lookup);
  if (!is_new) return it->second;
  const auto give_up = [&](const std::string& why) {
    State::end(*lookup, peer_lost("cannot look up the host of \"" + address + "\": " + why));
    state_->under_way.erase(it);
  };
  if (state_->under_way.size() > most) {
    give_up("too many others are being looked up");
    return lookup;
  }
  try {
    std::thread([state = state_, address] { state->look_up(address); }).detach();
  } catch (const std::system_error& error) {
    give_up(error.what());
  }
  return lookup;
}

void Lookups::prepare(const std::string& address) {
  if (numeric(address)) return;
  if (const auto found = state_->resolver(address); found.ok()) state_->prepared[address] = *found;
}

}  // namespace isthmus
