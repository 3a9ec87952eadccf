// Reactor: the one thread of a session. It waits for sockets, deadlines and posted calls, and steps
// its actors.
//
// Readiness is edge-triggered and remembered in flags that belong to the socket, so a step tries
// only what may move. All events of a wake-up are noted before any actor runs; so an actor may
// close sockets freely.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "base/clock.hpp"
#include "net/actor.hpp"

namespace isthmus {

struct Readiness {
  bool readable = false;
  bool writable = false;
};

class Reactor {
 public:
  Reactor();
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // From the reactor's thread (or before run()).
  void watch(int fd, Readiness* readiness);
  void unwatch(int fd);
  void add(Actor* actor) { actors_.push_back(actor); }

  // From any thread: `call` runs on the reactor's thread before the next step.
  void post(std::function<void()> call);

  // Runs until stop(); stop() is for the reactor's thread (post it from others).
  void run();
  void stop() { stopping_ = true; }
  // Runs what was posted and not run yet. After run(), from its thread.
  void run_posted();

 private:
  void wait(std::int64_t deadline_ns);

  SteadyClock clock_;
  int epoll_ = -1;
  int wake_ = -1;
  bool stopping_ = false;
  std::vector<Actor*> actors_;
  std::mutex mutex_;  // posted_
  std::vector<std::function<void()>> posted_;
};

}  // namespace isthmus
