// Ledger: what the operations of one session have cost so far, and where their time went.
//
// The engine writes down what happens and when; nothing here looks at a clock.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace isthmus {

// Sums over operations; times of those that ended well.
struct OperationStats {
  std::uint64_t done = 0;
  std::int64_t flight_ns = 0;  // from the call to the result
  std::int64_t queued_ns = 0;  // the part of it before a slice left or came
  std::int64_t late_ns = 0;    // the part of it until every site had begun the operation
  // All-reduces only.
  std::uint64_t reduced_bytes = 0;  // as float32
  std::uint64_t float_bytes = 0;    // what left, had it been float32
  std::uint64_t encoded_bytes = 0;  // what left
  std::vector<int> contributors{};  // ranks, to the last one that is done
};

class Ledger {
 public:
  void begun(std::uint64_t operation, std::int64_t now_ns);
  void begun_everywhere(std::uint64_t operation, std::int64_t now_ns);
  // A slice of it leaves or came. Nothing for an operation that this site has not begun.
  void moved(std::uint64_t operation, std::int64_t now_ns);
  void sent(std::uint64_t elements, std::uint64_t encoded_bytes);
  void reduced(std::uint64_t elements, std::vector<int> contributors);
  void done(std::uint64_t operation, std::int64_t now_ns);
  void failed(std::uint64_t operation) { open_.erase(operation); }

  const OperationStats& stats() const { return stats_; }

 private:
  struct Times {
    std::int64_t begun_ns;
    std::int64_t everywhere_ns;
    std::int64_t moved_ns = 0;  // 0: not yet
  };

  std::map<std::uint64_t, Times> open_;
  OperationStats stats_;
};

}  // namespace isthmus
