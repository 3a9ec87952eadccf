// Workers: who does the arithmetic on slices. An executor says what is to be computed and hears
// when it is; whether that happens at once or on other threads is its owner's affair.
#pragma once

#include <functional>

namespace isthmus {

class Workers {
 public:
  using Call = std::function<void()>;

  virtual ~Workers() = default;

  // Runs `work` on any thread, and then `then` on the caller's: from within this call, collect() or
  // drain(). Works run in any order and side by side, so each has its memory to itself until
  // `then`.
  virtual void post(Call work, Call then) = 0;
  // Runs what follows on works that are done; false: there was nothing.
  virtual bool collect() = 0;
  // Returns when nothing is under way: all that was posted is done and collected.
  virtual void drain() = 0;
};

// No threads: the simulator's, and a session's whose machine has no core to spare.
class AtOnce final : public Workers {
 public:
  void post(Call work, Call then) override {
    work();
    then();
  }
  bool collect() override { return false; }
  void drain() override {}
};

}  // namespace isthmus
