// What must hold of a world that has run: nothing hangs, no sum is wrong, every failure names its
// cause.
#include <algorithm>
#include <set>

#include "simulation/sums.hpp"
#include "simulation/world.hpp"

namespace isthmus {
namespace {

constexpr std::int64_t close_within_ns = 5 * second_ns;  // of an engine whose peers do not answer
constexpr std::int64_t dial_within_ns = 10 * second_ns;
constexpr std::int64_t slack_ns = 5 * second_ns;  // for delays, queues and losses

class Judge {
 public:
  Judge(const WorldPlan& plan, const WorldReport& report) : plan_(plan), report_(report) {
    for (const TroublePlan& t : plan.troubles)
      if (!survivable(t, plan)) blame(t);
  }

  std::vector<std::string> verdict() {
    check_end();
    for (std::size_t site = 0; site < report_.sites.size(); ++site) check_site(site);
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) check_results(i);
    return std::move(broken_);
  }

 private:
  void blame(const TroublePlan& t) {
    disturbed_ = true;
    last_trouble_ns_ = std::max(last_trouble_ns_, t.at_ns);
    if (t.kind == Trouble::absent || t.at_ns < plan_.begin_ns()) while_joining_ = true;
    if (t.kind == Trouble::coordinator_killed) return;
    culprits_.insert(t.site);
    const bool pair = t.kind == Trouble::cut || t.kind == Trouble::clog ||
                      t.kind == Trouble::truncate || t.kind == Trouble::corrupt;
    if (pair) culprits_.insert(t.peer);
    // What happens to a stream may happen to one that is carried for others.
    if (pair || t.kind == Trouble::lie) {
      for (const BlockPlan& block : plan_.blocks) culprits_.insert({block.from, block.to});
      for (int site = 0; site < plan_.world(); ++site)
        if (!plan_.sites[static_cast<std::size_t>(site)].listens) culprits_.insert(site);
    }
    // What a clogged or a false frame withholds is missed only when nothing has come for `timeout`.
    if (t.kind == Trouble::clog || t.kind == Trouble::lie) slow_to_notice_ = true;
    if (t.kind == Trouble::freeze && t.for_ns != never_ns)
      last_trouble_ns_ = std::max(last_trouble_ns_, t.at_ns + t.for_ns);
  }

  void complain(const std::string& what) { broken_.push_back(what); }
  const std::string& name(std::size_t site) const { return plan_.sites[site].name; }
  std::string title(std::size_t site, std::size_t operation) const {
    return "operation " + std::to_string(operation + 1) + " at " + name(site);
  }

  void check_end() {
    if (report_.end == SimEnd::stuck) complain("the world is stuck: nothing will ever happen");
    if (report_.end == SimEnd::out_of_time) complain("not every living site has closed in time");
    if (report_.end == SimEnd::livelock) complain("livelock: sites step without time passing");
  }

  void check_site(std::size_t site) {
    const SiteReport& report = report_.sites[site];
    if (!report.living) return;
    if (!report.joined.done) return complain(name(site) + " neither joined nor failed to");
    if (!report.closed) complain(name(site) + " has not closed");
    if (!report.joined.status.ok()) {
      check_failure(site, "joining at " + name(site), report.joined.status, nullptr);
      check_time("joining at " + name(site), report.joined, true);
    }
    for (std::size_t i = 0; i < report.works.size(); ++i) {
      const WorkReport& work = report.works[i];
      if (!work.begun) {
        if (report.joined.status.ok() && !leaves(site))
          complain(title(site, i) + " was never begun");
        continue;
      }
      if (!work.done) {
        complain(title(site, i) + " was never finished");
        continue;
      }
      if (work.status.ok()) continue;
      if (!work.untouched) complain(title(site, i) + " failed, yet wrote to the caller's memory");
      check_failure(site, title(site, i), work.status, &plan_.operations[i]);
      check_time(title(site, i), work, false);
    }
  }

  bool leaves(std::size_t site) const {
    return std::ranges::any_of(plan_.troubles, [&](const TroublePlan& t) {
      return t.kind == Trouble::leave && t.site == static_cast<int>(site);
    });
  }

  // Every failure says who, and it was them.
  void check_failure(std::size_t site, const std::string& what, const Status& status,
                     const OperationPlan* operation) {
    const std::string said = what + ": \"" + status.text + "\"";
    const auto me = static_cast<int>(site);
    if (operation != nullptr && operation->odd_site >= 0 && status.code == Code::refused) {
      const int named = site_of(status.peer);
      if (named < 0 || (named != operation->odd_site && me != operation->odd_site))
        complain(said + " names the wrong site as the one that differs");
      return;
    }
    if (status.code == Code::cancelled && leaves(site)) return;
    if (!disturbed_) return complain(said + ", though nothing went wrong");
    if (status.peer < 0 && !names_somebody(status.text)) return complain(said + " names nobody");
    if (culprits_.contains(me) || while_joining_) return;
    if (status.peer >= 0 && !culprits_.contains(site_of(status.peer)))
      complain(said + " blames an innocent site");
  }

  bool names_somebody(const std::string& text) const {
    const auto has = [&](const std::string& word) { return text.find(word) != text.npos; };
    return has("coordinator") ||
           std::ranges::any_of(plan_.sites, [&](const SitePlan& s) { return has(s.name); });
  }

  int site_of(int rank) const {
    for (std::size_t site = 0; site < report_.sites.size(); ++site)
      if (report_.sites[site].rank == rank) return static_cast<int>(site);
    return -1;
  }

  void check_time(const std::string& what, const WorkReport& work, bool joining) {
    std::int64_t patience_ns = plan_.heartbeat_timeout_ns + slack_ns;
    if (!plan_.blocks.empty()) patience_ns += plan_.heartbeat_timeout_ns / 2;
    if (slow_to_notice_) patience_ns += plan_.timeout_ns;
    if (while_joining_ || joining) patience_ns += plan_.timeout_ns + dial_within_ns;
    const std::int64_t others_ns = plan_.begin_ns() + last_submit_ns();
    const std::int64_t cause_ns = std::max({work.begun_ns, last_trouble_ns_, others_ns});
    if (work.ended_ns > cause_ns + patience_ns)
      complain(what + " failed only " + std::to_string((work.ended_ns - cause_ns) / second_ns) +
               " s after its cause");
  }

  std::int64_t last_submit_ns() const {
    std::int64_t last_ns = 0;
    for (const OperationPlan& operation : plan_.operations)
      last_ns = std::max(last_ns, std::ranges::max(operation.submit_ns));
    return last_ns;
  }

  std::vector<int> everybody() const {
    std::vector<int> sites;
    for (int rank = 0; rank < plan_.world(); ++rank) sites.push_back(site_of(rank));
    return sites;
  }

  void check_results(std::size_t index) {
    const OperationPlan& operation = plan_.operations[index];
    const WorkReport* first = nullptr;
    for (std::size_t site = 0; site < report_.sites.size(); ++site) {
      const WorkReport& work = report_.sites[site].works[index];
      if (!work.done || !work.status.ok()) continue;
      if (!has_part(operation, plan_.ranks()[site])) continue;
      if (operation.odd_site >= 0)
        complain(title(site, index) + " ended well, though sites differ");
      else if (first == nullptr)
        check_result(site, index, work.result);
      else if (work.result != first->result)
        complain(title(site, index) + " has not the same bits as elsewhere");
      if (first == nullptr) first = &work;
    }
  }

  void check_result(std::size_t site, std::size_t index, const std::vector<std::byte>& result) {
    const std::string wrong = wrong_in(plan_, index, everybody(), result);
    if (!wrong.empty()) complain(title(site, index) + wrong);
  }

  const WorldPlan& plan_;
  const WorldReport& report_;
  std::vector<std::string> broken_;
  std::set<int> culprits_;
  bool disturbed_ = false;
  bool while_joining_ = false;
  bool slow_to_notice_ = false;
  std::int64_t last_trouble_ns_ = 0;
};

}  // namespace

std::vector<std::string> judge(const WorldPlan& plan, const WorldReport& report) {
  return Judge(plan, report).verdict();
}

std::int64_t last_moment_ns(const WorldPlan& plan) {
  std::int64_t last_ns = plan.begin_ns();
  for (const TroublePlan& t : plan.troubles) {
    last_ns = std::max(last_ns, t.at_ns);
    if (t.kind == Trouble::freeze && t.for_ns != never_ns)
      last_ns = std::max(last_ns, t.at_ns + t.for_ns);
  }
  for (const OperationPlan& operation : plan.operations)
    last_ns = std::max(last_ns, plan.begin_ns() + std::ranges::max(operation.submit_ns));
  std::int64_t linger_ns = 0;
  for (const SitePlan& site : plan.sites) linger_ns = std::max(linger_ns, site.close_after_ns);
  return last_ns + 2 * plan.timeout_ns + plan.heartbeat_timeout_ns + dial_within_ns +
         close_within_ns + linger_ns + 2 * slack_ns;
}

}  // namespace isthmus
