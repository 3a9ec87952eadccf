// History: what the processes of a run did, as a bystander sees it who sees all; and what of it
// must not be.
//
// Every result is looked at when it comes; the model that is left at the end must be made of every
// step once, one after another, each of results that were right.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "session/work.hpp"
#include "simulation/training.hpp"

namespace isthmus {

struct OperationKey {
  EpochKey epoch;
  std::uint64_t number = 0;
  friend auto operator<=>(const OperationKey&, const OperationKey&) = default;
};

SiteSet contributors_of(const Outcome& outcome);

struct Ended {       // an operation, well, at one site
  SiteSet roster{};  // of the site, at that moment
  SiteSet contributors{};
  std::vector<std::byte> result{};  // all_gather: the payloads, one after another
};

class History {
 public:
  explicit History(const RunPlan& plan) : plan_(plan) {}

  void at(std::int64_t now_ns) { now_ns_ = now_ns; }
  int comes(int site);  // a process; returns its number
  void goes(int process, const std::string& why);
  void fails(int process, const Status& why, bool trains);  // by itself
  void hears_of(int process, const std::string& why);       // a loss, or a stream's
  // From now on a protocol may be broken by what was changed on its way.
  void damaged() { damaged_ = true; }
  void stands(int process, EpochKey key, const std::vector<std::string>& sites);
  void begins(int process, OperationKey key, int rank);
  void says(int process, OperationKey key, int rank, const std::vector<std::byte>& payload);
  void ends(int process, OperationKey key, Ended ended);
  void hears(int process, OperationKey key, const Outcome& outcome, SiteSet roster);
  void applies(int process, OperationKey last, std::uint64_t step, std::uint64_t before,
               std::uint64_t after);
  void holds(int process, std::uint64_t step, std::uint64_t digest);
  void tell(int process, const std::string& what);  // for whoever reads it
  void complain(const std::string& what);

  // REQUIRES: what the living ones hold, when the run is over.
  void judge_end(const std::vector<std::uint64_t>& digests);

  const std::vector<std::string>& broken() const { return broken_; }
  const std::vector<std::string>& lines() const { return lines_; }
  std::uint64_t steps() const { return deepest_; }
  std::size_t checked() const { return sums_.size(); }  // operations whose sums were compared

 private:
  struct Process {
    int site = 0;
    int life = 1;
    std::int64_t gone_ns = never_ns;
  };
  struct Result {
    SiteSet contributors;
    std::uint64_t hash = 0;
    friend bool operator==(const Result&, const Result&) = default;
  };
  struct Step {                // a state of the model
    std::uint64_t before = 0;  // 0: the first
    std::uint64_t number = 0;  // of the step that follows
    OperationKey last{};       // operation of it
    std::int64_t first_ns = 0;
    std::set<int> holders{};
  };

  std::string title(int process) const;
  std::string title(int process, OperationKey key) const;
  void compare(int process, OperationKey key, const Ended& ended, std::uint64_t hash);
  void check_sum(int process, OperationKey key, const Ended& ended, std::uint64_t hash);
  void judge_rosters();
  void judge_chain(const std::vector<std::uint64_t>& chain);
  void judge_sides(const std::vector<std::uint64_t>& chain);

  const RunPlan& plan_;
  std::int64_t now_ns_ = 0;
  bool damaged_ = false;
  std::vector<Process> processes_;
  std::vector<int> lives_;
  std::map<EpochKey, std::vector<std::string>> rosters_;
  std::map<OperationKey, std::map<int, std::vector<std::byte>>> said_;  // by rank
  std::map<OperationKey, SiteSet> begun_;
  std::map<std::pair<OperationKey, std::uint64_t>, std::pair<int, Result>> by_roster_;
  std::set<std::tuple<OperationKey, std::uint64_t, std::uint64_t>> sums_;  // that were right
  struct Part {        // of a process in an epoch
    SiteSet roster{};  // its last one
    std::map<std::uint64_t, Result> results{};
  };
  std::map<std::pair<EpochKey, int>, Part> parts_;
  std::map<std::uint64_t, Step> steps_;  // by digest
  std::uint64_t deepest_ = 0;
  std::vector<std::string> broken_, lines_;
};

}  // namespace isthmus
