// WorkerPool: threads that decode, add and encode slices for a session, so that one gateway fills a
// link that is faster than one core's arithmetic.
//
// All calls come from one thread, the reactor's. It computes too when the others have enough to do:
// so no more than a few slices wait, and a slow pool costs nothing.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "collective/workers.hpp"

namespace isthmus {

class WorkerPool final : public Workers {
 public:
  // `wake` is called on a worker's thread when there is something to collect again.
  WorkerPool(int threads, Call wake);
  ~WorkerPool() override;  // REQUIRES: drained

  void post(Call work, Call then) override;
  bool collect() override;
  void drain() override;

 private:
  struct Job {
    Call work;
    Call then;
  };

  void run();

  const Call wake_;
  const std::size_t most_waiting_;
  std::mutex mutex_;  // all below but the threads
  std::condition_variable job_waits_;
  std::condition_variable all_done_;
  std::deque<Job> waiting_;
  std::size_t unfinished_ = 0;  // waiting or being computed
  std::vector<Call> done_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace isthmus
