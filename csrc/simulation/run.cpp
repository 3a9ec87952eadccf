#include "simulation/run.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <tuple>

#include "base/check.hpp"
#include "mesh/coordinator.hpp"
#include "simulation/shape.hpp"
#include "simulation/stranger.hpp"
#include "simulation/strike.hpp"
#include "simulation/tampering.hpp"
#include "simulation/trainer.hpp"

namespace isthmus {
namespace {

// After the last blow all must train together within this: a pair that lost each other, a process
// that waits until its predecessor is given up, some calls that fail.
constexpr std::int64_t patience_ns = 180 * second_ns;

class Drama {
 public:
  Drama(const RunPlan& plan, int log_events)
      : plan_(plan),
        net_(settings_for(plan.world, log_events)),
        history_(plan),
        random_(plan.world.seed) {
    homes_.resize(plan.world.sites.size());
    pending_.assign(plan.blows.begin(), plan.blows.end());
  }

  RunReport run();

 private:
  struct Home {  // of a site: its process, and those before
    std::vector<std::unique_ptr<Trainer>> lives;
    bool living = false;
    bool frozen = false;
    std::int64_t ill_until_ns = 0;  // frozen, or cut off from somebody
  };
  struct Pending : BlowPlan {
    Pending(const BlowPlan& blow) : BlowPlan(blow) {}
    bool struck = false;
  };

  int world() const { return plan_.world.world(); }
  const std::string& name(int site) const {
    return plan_.world.sites[static_cast<std::size_t>(site)].name;
  }
  Home& home(int site) { return homes_[static_cast<std::size_t>(site)]; }
  Trainer& trainer(int site) { return *home(site).lives.back(); }
  bool lives(int site) { return home(site).living; }
  bool comes_back(int site) {
    const int lives = plan_.lives[static_cast<std::size_t>(site)];
    return lives < 0 || static_cast<int>(home(site).lives.size()) < lives;
  }

  void start(int site);
  void die(int site, const std::string& why);
  void bury_the_ended();
  void serve();
  void pass(Milestone milestone, int site);
  void strike(const BlowPlan& blow);
  void strike_coordinator(const TroublePlan& what);
  std::string scene();
  bool over();
  bool all_together();
  void judge();
  const Trainer* foremost();
  std::string why_stuck();
  bool keeps_state(const std::string& member, std::uint32_t epoch);

  const RunPlan& plan_;
  SimNet net_;
  History history_;
  Random random_;
  RunReport report_;
  std::vector<Home> homes_;
  std::vector<std::unique_ptr<Coordinator>> coordinators_;
  bool coordinator_gone_ = false;
  std::vector<std::unique_ptr<Stranger>> strangers_;
  std::vector<Pending> pending_;
  std::array<int, 16> passed_{};
  std::vector<std::uint64_t> steps_at_last_;  // by site, when the last blow was over
  std::int64_t last_ns_ = 0;                  // when the last blow is over
};

// Its process, and with it the coordinator if the site has it.
void Drama::start(int site) {
  Home& h = home(site);
  if (!h.lives.empty()) net_.revive(site);
  h.living = true;
  h.ill_until_ns = 0;
  history_.at(net_.now_ns());
  const Surroundings around{net_.network(site), plan_, history_,
                            [this](Milestone m, int who) { pass(m, who); },
                            [this] { report_.sabotaged = true; }};
  h.lives.push_back(std::make_unique<Trainer>(around, site, static_cast<int>(h.lives.size())));
  if (plan_.serves && site == 0) serve();
  net_.add(site, *h.lives.back());
}

void Drama::serve() {
  const int host = plan_.coordinator_host();
  auto listener = net_.network(host).listen(address_of(host, coordinator_port));
  ISTHMUS_CHECK(listener.ok());
  coordinators_.push_back(std::make_unique<Coordinator>(
      std::move(*listener), mix(plan_.world.seed + coordinators_.size() * 1000)));
  net_.add(host, *coordinators_.back());
}

void Drama::die(int site, const std::string& why) {
  Home& h = home(site);
  if (!h.living) return;
  h.living = false;
  history_.goes(trainer(site).process(), why);
  net_.kill(site);
  if (!comes_back(site)) return;
  const auto absence_ns = random_.between<std::int64_t>(10 * millisecond_ns, plan_.absence_ns);
  net_.at(net_.now_ns() + absence_ns, [this, site] { start(site); });
}

// Processes that have come to their end by themselves.
void Drama::bury_the_ended() {
  for (int site = 0; site < world(); ++site)
    if (lives(site) && trainer(site).ended()) die(site, "has ended");
}

void Drama::pass(Milestone milestone, int site) {
  const int nth = ++passed_[static_cast<std::size_t>(milestone)];
  for (Pending& blow : pending_) {
    if (blow.struck || blow.after != milestone || blow.nth != nth) continue;
    blow.struck = true;
    BlowPlan now = blow;
    if (blow.there && now.what.site != site) {
      if (now.what.peer == site) now.what.peer = now.what.site;
      now.what.site = site;
    }
    last_ns_ = std::max(last_ns_, net_.now_ns() + now.what.at_ns);
    net_.at(net_.now_ns() + now.what.at_ns, [this, now] { strike(now); });
  }
}

// What the sites are about, in a word.
std::string Drama::scene() {
  bool losing = false, joining = false, handing = false, begun = false;
  for (int site = 0; site < world(); ++site) {
    const Home& h = home(site);
    if (h.lives.empty() || !h.living) {
      losing = losing || !h.lives.empty();
      continue;
    }
    const Trainer& t = trainer(site);
    begun = begun || t.has_state();
    handing = handing || t.hands_over();
    joining = joining || t.comes_in();
    losing = losing || t.misses() || h.ill_until_ns > net_.now_ns();
  }
  if (!begun && history_.steps() == 0) return "before the run";
  if (handing) return "a hand-over";
  if (joining && begun) return "a joining";
  return losing || !begun ? "a loss" : "training";
}

void Drama::strike(const BlowPlan& blow) {
  const TroublePlan& what = blow.what;
  const bool of_coordinator = what.site == world() || what.kind == Trouble::coordinator_killed;
  history_.at(net_.now_ns());
  const std::string who = of_coordinator
                              ? "the coordinator"
                              : plan_.world.sites[static_cast<std::size_t>(what.site)].name;
  history_.tell(-1, "BLOW: " + std::string(name_of(what.kind)) + " " + who);
  const std::string during = scene();
  const bool of_stream = is_of_a_stream(what.kind);
  // Another fault may have kept sites from having joined by then.
  const bool once_joined = of_stream || what.kind == Trouble::coordinator_killed;
  const bool unnoticed = harmless(blow, plan_) && (!once_joined || during == "training");
  report_.struck.push_back({what.kind, during, of_coordinator, unnoticed});
  // A payload's damage breaks one stream, but for streams that are not yet a link's.
  const bool of_payload = what.kind == Trouble::payload;
  if (what.kind == Trouble::corrupt || (of_payload && !unnoticed)) history_.damaged();
  const bool lasts = what.kind != Trouble::kill && what.kind != Trouble::truncate &&
                     what.kind != Trouble::corrupt && !of_stream;
  const std::int64_t until_ns = net_.now_ns() + (lasts ? what.for_ns : 0);
  last_ns_ = std::max(last_ns_, until_ns);
  steps_at_last_.clear();
  if (of_coordinator) return strike_coordinator(what);
  if (lasts) home(what.site).ill_until_ns = std::max(home(what.site).ill_until_ns, until_ns);
  if (what.kind == Trouble::kill) return die(what.site, "is killed");
  isthmus::strike(net_, what, plan_.world.heartbeat_timeout_ns);
}

void Drama::strike_coordinator(const TroublePlan& what) {
  const int host = plan_.coordinator_host();
  if (plan_.serves && what.kind == Trouble::coordinator_killed) return die(host, "is killed");
  if (what.kind != Trouble::coordinator_killed) {
    TroublePlan there = what;
    there.site = host;
    if (there.kind == Trouble::cut && there.peer == host) return;
    return isthmus::strike(net_, there, plan_.world.heartbeat_timeout_ns);
  }
  if (std::exchange(coordinator_gone_, true)) return;
  net_.kill(host);
  net_.at(net_.now_ns() + what.for_ns, [this, host] {
    coordinator_gone_ = false;
    net_.revive(host);
    serve();
  });
}

// All that can be there train in one epoch, with each other.
bool Drama::all_together() {
  const Trainer* first = nullptr;
  std::size_t together = 0;
  for (int site = 0; site < world(); ++site) {
    if (!lives(site)) {
      if (comes_back(site)) return false;
      continue;
    }
    const Trainer& t = trainer(site);
    if (t.engine() == nullptr || t.failing() || t.hands_over() || !t.has_state()) return false;
    if (first == nullptr) first = &t;
    if (t.engine()->epoch() != first->engine()->epoch() || t.names() != first->names())
      return false;
    if (t.engine()->present() != first->engine()->present()) return false;
    ++together;
  }
  return first != nullptr && first->engine()->present().size() == static_cast<int>(together);
}

bool Drama::over() {
  history_.at(net_.now_ns());
  bury_the_ended();
  if (net_.now_ns() <= last_ns_) return false;
  if (net_.now_ns() > last_ns_ + patience_ns) return true;
  if (!all_together()) {
    steps_at_last_.clear();
    return false;
  }
  bool enough = true;
  const bool fresh = steps_at_last_.empty();
  for (int site = 0; site < world(); ++site) {
    const std::uint64_t steps = lives(site) ? trainer(site).steps_done() : 0;
    if (fresh) steps_at_last_.push_back(steps);
    const std::uint64_t before = steps_at_last_[static_cast<std::size_t>(site)];
    enough = enough && (!lives(site) || steps >= before + plan_.steps_after);
  }
  return report_.together = enough;
}

// Of the latest epoch, and in it of the smallest lawful roster; null: nobody trains.
const Trainer* Drama::foremost() {
  const Trainer* best = nullptr;
  const auto worth = [](const Trainer& t) {
    return std::tuple(t.engine()->epoch(), -t.engine()->lawful().size(), t.steps_done());
  };
  for (int site = 0; site < world(); ++site) {
    if (!lives(site) || trainer(site).engine() == nullptr || !trainer(site).has_state()) continue;
    if (best == nullptr || worth(trainer(site)) > worth(*best)) best = &trainer(site);
  }
  return best;
}

// Why those who are left may be stuck; "": they may not.
std::string Drama::why_stuck() {
  std::set<std::string> here;
  for (int site = 0; site < world(); ++site)
    if (lives(site) || comes_back(site)) here.insert(name(site));
  if (static_cast<int>(here.size()) == world()) return "";
  if (static_cast<int>(here.size()) < plan_.world.min_sites) return "fewer than min_sites are left";
  const Trainer* last = foremost();
  if (last == nullptr) return "a run needs all of its sites to begin";
  Muster muster;
  for (std::size_t rank = 0; rank < last->names().size(); ++rank) {
    if (!last->engine()->lawful().has(static_cast<int>(rank))) continue;
    const std::string& member = last->names()[rank];
    const bool is_here = here.contains(member);
    const bool stuck = is_here && keeps_state(member, last->engine()->epoch());
    ++(stuck ? muster.stuck : is_here ? muster.replaced : muster.absent);
    if (plan_.world.favourite >= 0 && member == name(plan_.world.favourite))
      muster.favourite = stuck     ? Muster::Favourite::stuck
                         : is_here ? Muster::Favourite::replaced
                                   : Muster::Favourite::absent;
  }
  return muster.may_go_on() ? "" : "too few of the last lawful roster are left";
}

bool Drama::keeps_state(const std::string& member, std::uint32_t epoch) {
  for (int site = 0; site < world(); ++site)
    if (name(site) == member && lives(site) && trainer(site).engine() != nullptr)
      return trainer(site).has_state() && trainer(site).engine()->epoch() == epoch;
  return false;
}

void Drama::judge() {
  std::vector<std::uint64_t> digests;
  if (report_.together) {
    for (int site = 0; site < world(); ++site)
      if (lives(site)) digests.push_back(trainer(site).digest());
  } else if (const std::string why = why_stuck(); why.empty()) {
    history_.complain("the sites do not come to train together again");
  } else {
    history_.tell(-1, "stuck: " + why);
  }
  if (!report_.together && foremost() != nullptr) digests = {foremost()->digest()};
  history_.judge_end(digests);
  const bool calm = std::ranges::all_of(report_.struck, &Struck::harmless);
  if (calm && (report_.processes > world() || report_.epochs > 0))
    history_.complain("a site was lost, though nothing went wrong");
}

RunReport Drama::run() {
  shape(net_, plan_.world);
  for (int site = 0; site < world() && is_on_the_wire(plan_.sabotage); ++site)
    net_.tamper(site, make_saboteur(plan_.sabotage, [this] { report_.sabotaged = true; }));
  if (!plan_.serves) serve();
  for (int site = 0; site < world(); ++site)
    net_.at(plan_.world.sites[static_cast<std::size_t>(site)].join_ns,
            [this, site] { start(site); });
  for (int i = 0; i < plan_.world.strangers; ++i) {
    strangers_.push_back(std::make_unique<Stranger>(net_.network(world() + 1), plan_.world, i));
    net_.add(world() + 1, *strangers_.back());
  }
  last_ns_ = plan_.world.begin_ns();
  for (Pending& blow : pending_) {
    if (blow.after != Milestone::none) continue;
    blow.struck = true;
    last_ns_ = std::max(last_ns_, blow.what.at_ns);
    net_.at(blow.what.at_ns, [this, &blow] { strike(blow); });
  }
  const SimEnd end = net_.run_until([this] { return over(); }, 3600 * second_ns);
  if (end != SimEnd::reached) history_.complain("the world has not come to its end");
  report_.ended_ns = net_.now_ns();
  for (const Home& h : homes_) {
    report_.processes += static_cast<int>(h.lives.size());
    for (const auto& life : h.lives) {
      if (life->engine() != nullptr)
        report_.epochs = std::max(report_.epochs, life->engine()->epoch());
      report_.streams += life->stream_counts();
    }
  }
  judge();
  report_.trace = net_.trace_hash();
  report_.events = net_.log();
  report_.steps = history_.steps();
  report_.checked = history_.checked();
  report_.broken = history_.broken();
  report_.lines = history_.lines();
  return std::move(report_);
}

}  // namespace

RunReport simulate_run(const RunPlan& plan, int log_events) {
  return Drama(plan, log_events).run();
}

}  // namespace isthmus
