// What must hold of a world whose sites carry on after a loss: whoever goes on to the end has the
// same bits as the others, made of the contributions that are reported and of nothing else; nobody
// waits for ever; and if most sites had no part in what went wrong, all of these go on.
#include <algorithm>
#include <set>

#include "simulation/sums.hpp"
#include "simulation/world.hpp"

namespace isthmus {
namespace {

constexpr std::int64_t slack_ns = 6 * second_ns;  // for delays, queues and losses
constexpr int patience_in_timeouts = 4;  // one loss is noticed while another one is got over

class Survivors {
 public:
  Survivors(const WorldPlan& plan, const WorldReport& report)
      : plan_(plan), report_(report), ranks_(plan.ranks()) {
    for (const TroublePlan& t : plan.troubles) {
      if (survivable(t, plan)) continue;
      culprits_.insert(t.site);
      last_trouble_ns_ = std::max(last_trouble_ns_, t.at_ns);
      if (t.kind == Trouble::freeze && t.for_ns != never_ns)
        last_trouble_ns_ = std::max(last_trouble_ns_, t.at_ns + t.for_ns);
      if (t.kind == Trouble::cut || t.kind == Trouble::truncate) culprits_.insert(t.peer);
    }
    for (int site = 0; site < plan.world(); ++site)
      if (at(site).living && at(site).failure.ok()) survivors_.push_back(site);
  }

  std::vector<std::string> verdict() {
    if (report_.end != SimEnd::reached) complain("the world has not come to its end");
    for (int site = 0; site < plan_.world(); ++site)
      if (at(site).living) check_site(site);
    check_who_goes_on();
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) check_operation(i);
    return std::move(broken_);
  }

 private:
  const SiteReport& at(int site) const { return report_.sites[static_cast<std::size_t>(site)]; }
  void complain(const std::string& what) { broken_.push_back(what); }
  const std::string& name(int site) const {
    return plan_.sites[static_cast<std::size_t>(site)].name;
  }
  std::string title(int site, std::size_t operation) const {
    return "operation " + std::to_string(operation + 1) + " at " + name(site);
  }
  int site_of(int rank) const {
    return static_cast<int>(std::ranges::find(ranks_, rank) - ranks_.begin());
  }

  void check_site(int site) {
    const SiteReport& report = at(site);
    if (!report.closed) complain(name(site) + " has not closed");
    if (!report.failure.ok()) check_failure(site, report.failure);
    for (std::size_t i = 0; i < report.works.size(); ++i) {
      const WorkReport& work = report.works[i];
      if (!work.begun && report.failure.ok()) complain(title(site, i) + " was never begun");
      if (!work.begun) continue;
      if (!work.done) {
        complain(title(site, i) + " was never finished");
        continue;
      }
      if (!work.status.ok() && !work.untouched)
        complain(title(site, i) + " failed, yet wrote to the caller's memory");
      check_time(site, i, work);
    }
  }

  void check_failure(int site, const Status& failure) {
    const std::string said = name(site) + " failed: \"" + failure.text + "\"";
    if (culprits_.empty()) return complain(said + ", though nothing went wrong");
    if (failure.code != Code::peer_lost && !culprits_.contains(site))
      complain(said + ", and not for a loss");
  }

  void check_time(int site, std::size_t index, const WorkReport& work) {
    std::int64_t cause_ns = std::max(work.begun_ns, last_trouble_ns_);
    for (const OperationPlan& operation : plan_.operations)
      cause_ns = std::max(cause_ns, plan_.begin_ns() + std::ranges::max(operation.submit_ns));
    if (work.ended_ns > cause_ns + patience_in_timeouts * plan_.heartbeat_timeout_ns + slack_ns)
      complain(title(site, index) + " took too long");
  }

  void check_who_goes_on() {
    std::vector<int> innocent;
    for (int site = 0; site < plan_.world(); ++site)
      if (!culprits_.contains(site)) innocent.push_back(site);
    const bool most = 2 * innocent.size() > plan_.sites.size() &&
                      static_cast<int>(innocent.size()) >= plan_.min_sites;
    for (const int site : innocent)
      if (most && !at(site).failure.ok())
        complain(name(site) + " does not go on, though most sites are well: \"" +
                 at(site).failure.text + "\"");
    for (const int site : survivors_) {
      const std::vector<int>& roster = at(site).roster;
      if (roster != at(survivors_.front()).roster)
        complain(name(site) + " has another roster than " + name(survivors_.front()));
      if (std::ranges::find(roster, ranks_[static_cast<std::size_t>(site)]) == roster.end())
        complain(name(site) + " goes on without being in its own roster");
    }
  }

  void check_operation(std::size_t index) {
    const WorkReport* first = nullptr;
    for (const int site : survivors_) {
      const WorkReport& work = at(site).works[index];
      if (!work.done) continue;
      const auto rank = ranks_[static_cast<std::size_t>(site)];
      if (!has_part(plan_.operations[index], rank)) {
        if (!work.status.ok() && !rootless(site, index))
          complain(title(site, index) + " failed without a part in it");
        continue;
      }
      if (first == nullptr) {
        first = &work;
        check_outcome(site, index, work);
      } else if (work.status.code != first->status.code) {
        complain(title(site, index) + " did not end as elsewhere");
      } else if (work.contributors != first->contributors) {
        complain(title(site, index) + " has other contributors than elsewhere");
      } else if (work.status.ok() && work.result != first->result) {
        complain(title(site, index) + " has not the same bits as elsewhere");
      }
    }
  }

  // Nobody is left who has the bytes.
  bool rootless(int site, std::size_t index) const {
    const OperationPlan& operation = plan_.operations[index];
    const std::vector<int>& roster = at(site).roster;
    const bool rooted =
        operation.collective == Collective::broadcast || operation.collective == Collective::hand;
    return rooted && std::ranges::find(roster, operation.root) == roster.end();
  }

  void check_outcome(int site, std::size_t index, const WorkReport& work) {
    if (!work.status.ok()) {
      if (!rootless(site, index) || work.status.code != Code::peer_lost)
        complain(title(site, index) + " failed alone: \"" + work.status.text + "\"");
      return;
    }
    std::vector<int> contributors;
    for (const int rank : work.contributors) contributors.push_back(site_of(rank));
    for (const int each : contributors)
      if (!at(each).works[index].begun)
        complain(title(site, index) + " counts " + name(each) + ", which has not begun it");
    for (const int each : survivors_)
      if (std::ranges::find(contributors, each) == contributors.end())
        complain(title(site, index) + " lacks the contribution of " + name(each));
    if (const auto wrong = wrong_in(plan_, index, contributors, work.result); !wrong.empty())
      complain(title(site, index) + wrong);
  }

  const WorldPlan& plan_;
  const WorldReport& report_;
  const std::vector<int> ranks_;
  std::vector<std::string> broken_;
  std::set<int> culprits_;
  std::vector<int> survivors_;
  std::int64_t last_trouble_ns_ = 0;
};

}  // namespace

std::vector<std::string> judge_survivors(const WorldPlan& plan, const WorldReport& report) {
  return Survivors(plan, report).verdict();
}

}  // namespace isthmus
