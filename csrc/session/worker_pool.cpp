#include "session/worker_pool.hpp"

#include <utility>

namespace isthmus {
namespace {

// Enough that no worker runs dry while the reactor computes a slice of its own.
constexpr std::size_t waiting_a_thread = 4;

}  // namespace

WorkerPool::WorkerPool(int threads, Call wake)
    : wake_(std::move(wake)), most_waiting_(waiting_a_thread * static_cast<std::size_t>(threads)) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  job_waits_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::post(Call work, Call then) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() < most_waiting_) {
      waiting_.push_back({std::move(work), std::move(then)});
      ++unfinished_;
      work = nullptr;
    }
  }
  if (work == nullptr) return job_waits_.notify_one();
  work();
  then();
}

bool WorkerPool::collect() {
  std::vector<Call> done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(done_);
  }
  for (const Call& then : done) then();
  return !done.empty();
}

// What follows on a work may post another.
void WorkerPool::drain() {
  do {
    std::unique_lock lock(mutex_);
    all_done_.wait(lock, [this] { return unfinished_ == 0; });
  } while (collect());
}

void WorkerPool::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    job_waits_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    Job job = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    job.work();
    job.work = nullptr;
    lock.lock();
    done_.push_back(std::move(job.then));
    const bool first = done_.size() == 1;
    if (--unfinished_ == 0) all_done_.notify_all();
    if (!first) continue;
    lock.unlock();
    wake_();
    lock.lock();
  }
}

}  // namespace isthmus
