#include "net/reactor.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.hpp"

namespace isthmus {

Reactor::Reactor()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  ISTHMUS_CHECK(epoll_ >= 0 && wake_ >= 0);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  ISTHMUS_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) == 0);
}

Reactor::~Reactor() {
  close(wake_);
  close(epoll_);
}

void Reactor::watch(int fd, Readiness* readiness) {
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                    .data = {.ptr = readiness}};
  ISTHMUS_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0);
}

void Reactor::unwatch(int fd) {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

void Reactor::post(std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(call));
  }
  const std::uint64_t one = 1;
  // A full counter cannot happen before 2^64 posts; a failed write means that a wake-up is already
  // due.
  [[maybe_unused]] const auto wrote = write(wake_, &one, sizeof one);
}

void Reactor::run_posted() {
  std::vector<std::function<void()>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(posted_);
  }
  for (auto& call : calls) call();
}

void Reactor::run() {
  while (true) {
    run_posted();
    if (stopping_) return;
    std::int64_t deadline = never_ns;
    const std::int64_t now = clock_.now_ns();
    for (Actor* actor : actors_) deadline = std::min(deadline, actor->step(now));
    if (stopping_) return;
    wait(deadline);
  }
}

void Reactor::wait(std::int64_t deadline_ns) {
  int timeout_ms = -1;
  if (deadline_ns != never_ns) {
    const std::int64_t left = std::max<std::int64_t>(0, deadline_ns - clock_.now_ns());
    timeout_ms = static_cast<int>(
        std::min<std::int64_t>((left + millisecond_ns - 1) / millisecond_ns, 60'000));
  }
  std::array<epoll_event, 256> events;
  const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    if (event.data.ptr == nullptr) {
      std::uint64_t posts;
      [[maybe_unused]] const auto got = read(wake_, &posts, sizeof posts);
      continue;
    }
    auto* readiness = static_cast<Readiness*>(event.data.ptr);
    constexpr auto ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    if (event.events & (EPOLLIN | ends)) readiness->readable = true;
    if (event.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) readiness->writable = true;
  }
}

}  // namespace isthmus
