// What the tests of epochs see: sites that train, die and are replaced, in the simulator, as far as
// the coordinator has to do with it. Not public.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>

#include "bind/module.hpp"
#include "mesh/coordinator.hpp"
#include "mesh/messages.hpp"
#include "mesh/rendezvous.hpp"
#include "net/sim.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;

constexpr const char* coordinator_address = "site0:7000";
constexpr std::int64_t join_within_ns = 60 * second_ns;
constexpr std::int64_t boundary_ns = 50 * millisecond_ns;  // from one step to the next

std::int64_t to_ns(double seconds) {
  return static_cast<std::int64_t>(seconds * static_cast<double>(second_ns));
}

std::vector<std::string> names_in(const Roster& roster) {
  std::vector<std::string> names;
  for (const Member& member : roster.members) names.push_back(member.site);
  return names;
}

class Trainer;
using Trainers = std::vector<std::unique_ptr<Trainer>>;

// A site without a mesh: what its links would tell it, the world does. It changes over when all of
// its roster can.
class Trainer final : public Actor {
 public:
  Trainer(Network& network, const Trainers& all, const py::dict& plan, std::uint64_t ticket)
      : network_(network),
        all_(all),
        start_ns_(to_ns(plan["start"].cast<double>())),
        stuck_ns_(plan.contains("stuck") ? to_ns(plan["stuck"].cast<double>()) : never_ns) {
    request_.run = plan["run"].cast<std::string>();
    request_.sites = plan["sites"].cast<int>();
    request_.codec_table = 1;
    request_.ticket = ticket;
    request_.self = {.site = plan["name"].cast<std::string>(), .address = "", .streams = 0};
  }

  std::int64_t step(std::int64_t now_ns) override {
    if (now_ns < start_ns_) return start_ns_;
    if (!current_) join();
    std::int64_t next_ns = current_->step(now_ns);
    if (!standing_ && !current_->status().ok() && current_->epoch() > 0 &&
        now_ns < start_ns_ + join_within_ns) {
      join();  // it was called, and that came to nothing: it waits again
      next_ns = current_->step(now_ns);
    }
    if (!standing_ && current_->roster() != nullptr) take_part(names_in(*current_->roster()));
    if (standing_ && now_ns >= stuck_ns_) become_stuck();
    follow(now_ns);
    if (next_) next_ns = std::min(next_ns, next_->step(now_ns));
    mind_next();
    return std::min(next_ns, now_ns + boundary_ns);
  }

  // The mesh would say so to all that have a link with it.
  void lose(const Trainer& gone) {
    if (gone.name() == name() || gone.request_.run != request_.run) return;
    if (standing_ && std::erase(roster_, gone.name()) > 0 && standing_ == Standing::training)
      tell();
    lost_.push_back(gone.name());
    if (next_ && std::ranges::count(called_, gone.name()) > 0 && !decided()) give_up_next();
  }
  void die() { dead_ = true; }
  // Others have left the epoch in which it was to begin.
  void begin_again(std::uint32_t epoch) {
    if (dead_ || !standing_ || established() || current_->epoch() != epoch) return;
    current_->leave();
    current_.reset();
    standing_.reset();
    roster_.clear();
  }

  const std::string& name() const { return request_.self.site; }
  bool living() const { return !dead_ && standing_.has_value(); }
  bool reaches(std::uint32_t epoch) const {
    return living() && (current_->epoch() == epoch || ready_ == epoch);
  }

  py::dict outcome() const {
    py::dict out;
    const Status status = current_ ? current_->status() : Status{};
    out["name"] = name();
    out["dead"] = dead_;
    out["refused"] = status.code == Code::refused;
    out["late"] = status.code == Code::timeout;
    out["text"] = status.text;
    out["epoch"] = standing_ ? static_cast<int>(current_->epoch()) : -1;
    out["roster"] = roster_;
    return out;
  }

 private:
  void join() {
    current_ = std::make_unique<Rendezvous>(network_, coordinator_address, request_,
                                            start_ns_ + join_within_ns);
  }

  void take_part(std::vector<std::string> roster) {
    roster_ = std::move(roster);
    standing_ = Standing::training;
    failed_ = 0;
    followed_ = 0;
    tell();
  }

  void tell() { current_->attend(presence(*standing_, current_->epoch(), roster_)); }
  Presence presence(Standing standing, std::uint32_t epoch, std::vector<std::string> roster) const {
    return {.run = request_.run,
            .site = name(),
            .epoch = epoch,
            .standing = standing,
            .failed = failed_,
            .codec_table = 1,
            .roster = std::move(roster),
            .min_sites = 1,
            .favourite = ""};
  }

  void become_stuck() {
    stuck_ns_ = never_ns;
    standing_ = Standing::stuck;
    tell();
  }

  void follow(std::int64_t now_ns) {
    const Call* call = standing_ ? current_->call() : nullptr;
    if (call == nullptr || call->epoch <= followed_ || next_) return;
    followed_ = call->epoch;
    called_ = call->sites;
    lost_.clear();
    JoinRequest request = request_;
    request.sites = static_cast<int>(call->sites.size());
    request.call = *call;
    next_ = std::make_unique<Rendezvous>(network_, coordinator_address, request,
                                         now_ns + join_within_ns);
  }

  void mind_next() {
    if (!next_) return;
    if (ready_ == 0 && !next_->status().ok()) return give_up_next();
    if (next_->roster() == nullptr) return;
    if (ready_ == 0) {
      ready_ = next_->epoch();
      next_->attend(presence(Standing::ready, ready_, names_in(*next_->roster())));
    }
    const bool all = std::ranges::all_of(roster_, [&](const std::string& site) {
      return std::ranges::any_of(all_, [&](const auto& other) {
        return other->name() == site && other->request_.run == request_.run &&
               other->reaches(ready_);
      });
    });
    if (!all && !decided() && standing_ != Standing::stuck) return;
    current_->leave();
    (void)current_->step(0);
    current_ = std::move(next_);
    ready_ = 0;
    std::vector<std::string> roster = names_in(*current_->roster());
    for (const std::string& gone : lost_) std::erase(roster, gone);
    take_part(std::move(roster));
  }

  // Sites decide alike: if one of the roster has changed over, all do.
  bool decided() const {
    return ready_ != 0 && std::ranges::any_of(all_, [&](const auto& other) {
             return other->request_.run == request_.run && other->living() &&
                    std::ranges::count(roster_, other->name()) > 0 &&
                    other->current_->epoch() == ready_;
           });
  }

  void give_up_next() {
    failed_ = next_->epoch();
    next_->leave();
    next_.reset();
    ready_ = 0;
    tell();
    for (const auto& other : all_) other->begin_again(failed_);
  }

  // All of its roster have changed over to its epoch.
  bool established() const {
    return std::ranges::all_of(roster_, [&](const std::string& site) {
      return std::ranges::any_of(all_, [&](const auto& other) {
        return other->name() == site && other->living() &&
               other->current_->epoch() == current_->epoch();
      });
    });
  }

  Network& network_;
  const Trainers& all_;
  const std::int64_t start_ns_;
  std::int64_t stuck_ns_;
  JoinRequest request_;
  std::unique_ptr<Rendezvous> current_, next_;
  std::optional<Standing> standing_;  // none: it has not joined
  std::vector<std::string> roster_;
  std::vector<std::string> called_;  // to the next epoch
  std::vector<std::string> lost_;    // since that call
  std::uint32_t ready_ = 0, followed_ = 0, failed_ = 0;
  bool dead_ = false;
};

py::list sim_epochs(const std::vector<py::dict>& sites,
                    const std::vector<std::pair<double, double>>& coordinators, double end,
                    std::uint64_t seed) {
  SimNet net({.sites = static_cast<int>(1 + sites.size()), .seed = seed});
  std::vector<std::unique_ptr<Coordinator>> keepers;
  for (const auto& [from, until] : coordinators) {
    net.at(to_ns(from), [&, from] {
      if (from > 0) net.revive(0);
      auto listener = net.network(0).listen(coordinator_address);
      if (!listener.ok()) throw std::runtime_error(listener.status().text);
      keepers.push_back(std::make_unique<Coordinator>(std::move(*listener), seed));
      net.add(0, *keepers.back());
    });
    if (until < end) net.at(to_ns(until), [&] { net.kill(0); });
  }
  Trainers trainers;
  for (const py::dict& plan : sites) {
    const int at = static_cast<int>(trainers.size()) + 1;
    trainers.push_back(std::make_unique<Trainer>(net.network(at), trainers, plan,
                                                 seed * 100 + static_cast<std::uint64_t>(at)));
    Trainer& trainer = *trainers.back();
    net.add(at, trainer);
    if (!plan.contains("die")) continue;
    const std::int64_t die_ns = to_ns(plan["die"].cast<double>());
    const std::int64_t notice_ns = die_ns + to_ns(plan["notice"].cast<double>());
    net.at(die_ns, [&net, &trainer, at] {
      trainer.die();
      net.kill(at);
    });
    net.at(notice_ns, [&trainers, &trainer] {
      for (const auto& other : trainers) other->lose(trainer);
    });
  }
  if (net.run_until([] { return false; }, to_ns(end)) == SimEnd::livelock)
    throw std::runtime_error("livelock");
  py::list outcomes;
  for (const auto& trainer : trainers) outcomes.append(trainer->outcome());
  return outcomes;
}

}  // namespace

void register_epochs_testing(py::module_& m) {
  m.def("sim_epochs", &sim_epochs, py::kw_only(), py::arg("sites"), py::arg("coordinators"),
        py::arg("end"), py::arg("seed"));
}

}  // namespace isthmus
