#include "simulation/world.hpp"

#include <algorithm>
#include <memory>

#include "codecs/codec.hpp"
#include "mesh/coordinator.hpp"
#include "session/engine.hpp"
#include "simulation/inputs.hpp"
#include "simulation/shape.hpp"
#include "simulation/stranger.hpp"
#include "simulation/strike.hpp"

namespace isthmus {
namespace {

// One site's process: its engine, and the program that calls it.
class Site final : public Actor {
 public:
  Site(Network& network, const WorldPlan& plan, int site, SiteReport& report)
      : network_(network), plan_(plan), site_(site), report_(report) {
    memory_.resize(plan.operations.size());
  }

  std::int64_t step(std::int64_t now_ns) override {
    now_ns_ = now_ns;
    const SitePlan& self = plan_.sites[static_cast<std::size_t>(site_)];
    if (now_ns < self.join_ns) return self.join_ns;
    if (!engine_) join();
    change_streams();
    submit_what_is_due();
    const std::int64_t engine_ns = engine_->step(now_ns);
    const std::int64_t mine_ns = go_on(self.close_after_ns);
    if (engine_->closed() && !report_.closed) {
      report_.closed = true;
      report_.closed_ns = now_ns;
      report_.failure = engine_->failure();
      const EngineStats stats = engine_->stats();
      report_.roster = stats.roster;
      report_.again = stats.operations_again;
      report_.taken = stats.operations_taken;
    }
    const bool changes = changed_ < plan_.streams.size();
    return std::min({engine_ns, mine_ns, changes ? plan_.streams[changed_].at_ns : never_ns});
  }

  void leave_at(std::int64_t at_ns) { leave_ns_ = std::min(leave_ns_, at_ns); }

 private:
  struct Memory {  // the caller's
    Reduction reduction;
    std::vector<std::byte> bytes;
    std::vector<std::byte> before;
    ByteSpan output;
  };

  void join();
  void change_streams();
  void submit_what_is_due();
  void submit(std::size_t index);
  Request request_for(std::size_t index);
  void finished(std::size_t index, const Outcome& outcome);
  std::int64_t go_on(std::int64_t close_after_ns);
  std::int64_t due_ns(std::size_t index) const {
    return plan_.begin_ns() + plan_.operations[index].submit_ns[static_cast<std::size_t>(site_)];
  }

  Network& network_;
  const WorldPlan& plan_;
  const int site_;
  SiteReport& report_;
  std::vector<Memory> memory_;  // before the engine, which points into it
  std::unique_ptr<Engine> engine_;
  std::vector<std::shared_ptr<Work>> works_;
  std::size_t changed_ = 0;  // how many changes of the plan are done
  std::int64_t now_ns_ = 0;
  std::int64_t close_ns_ = never_ns;
  std::int64_t leave_ns_ = never_ns;
  bool closing_ = false;
};

void Site::join() {
  const SitePlan& self = plan_.sites[static_cast<std::size_t>(site_)];
  const std::string address = self.listens ? address_of(site_, site_port) : "";
  std::unique_ptr<Listener> listener;
  if (self.listens) {
    auto made = network_.listen(address);
    ISTHMUS_CHECK(made.ok());
    listener = std::move(*made);
  }
  EngineOptions options;
  options.coordinator = address_of(plan_.world(), coordinator_port);
  options.join.run = "world";
  options.join.sites = plan_.world();
  options.join.self = {.site = self.name, .address = address, .streams = self.streams};
  options.join.codec_table = codecs::table_hash();
  options.join.ticket = mix(plan_.seed * 64 + static_cast<std::uint64_t>(site_) + 1);
  options.timeout_ns = plan_.timeout_ns;
  options.heartbeat_timeout_ns = plan_.heartbeat_timeout_ns;
  options.relays = self.relays;
  options.on_loss = plan_.on_loss;
  options.min_sites = plan_.min_sites;
  if (plan_.favourite >= 0)
    options.favourite = plan_.sites[static_cast<std::size_t>(plan_.favourite)].name;
  const bool knows_its_uplink = (plan_.seed + static_cast<std::uint64_t>(site_)) % 2 == 0;
  if (knows_its_uplink) options.paces.all = static_cast<double>(self.up_bits_per_s) / 8;
  const bool paces_peers = plan_.seed % 3 == 0;
  for (const SitePlan& other : plan_.sites)
    if (paces_peers) options.paces.peers.push_back(static_cast<double>(other.down_bits_per_s) / 8);
  auto joined = std::make_shared<Work>(0);
  report_.joined.begun = true;
  report_.joined.begun_ns = now_ns_;
  joined->when_done([this, work = joined.get()] {
    report_.joined.done = true;
    report_.joined.status = work->outcome().status;
    report_.joined.ended_ns = now_ns_;
    if (work->outcome().status.ok()) report_.ways = engine_->stats().ways;
  });
  engine_ = std::make_unique<Engine>(network_, std::move(listener), std::move(options),
                                     std::move(joined), now_ns_);
}

// Both ends are told; one of them acts.
void Site::change_streams() {
  const std::vector<int> ranks = plan_.ranks();
  for (; changed_ < plan_.streams.size(); ++changed_) {
    const StreamsPlan& change = plan_.streams[changed_];
    if (change.at_ns > now_ns_) return;
    if (change.site != site_ && change.peer != site_) continue;
    const int peer = change.site == site_ ? change.peer : change.site;
    engine_->set_streams(ranks[static_cast<std::size_t>(peer)], change.count, now_ns_);
  }
}

void Site::submit_what_is_due() {
  if (!report_.joined.done || !report_.joined.status.ok() || closing_) return;
  while (works_.size() < plan_.operations.size() && due_ns(works_.size()) <= now_ns_)
    submit(works_.size());
}

void Site::submit(std::size_t index) {
  auto work = std::make_shared<Work>(Engine::first_operation + index);
  works_.push_back(work);
  WorkReport& report = report_.works[index];
  report.begun = true;
  report.begun_ns = now_ns_;
  work->when_done([this, index, done = work.get()] { finished(index, done->outcome()); });
  Request request = request_for(index);
  memory_[index].output = request.output;
  memory_[index].before.assign(request.output.begin(), request.output.end());
  engine_->submit(std::move(work), std::move(request), now_ns_);
}

Request Site::request_for(std::size_t index) {
  const OperationPlan& operation = plan_.operations[index];
  const bool odd = operation.odd_site == site_;
  Memory& memory = memory_[index];
  Request request;
  request.collective = operation.collective;
  if (odd && operation.collective == Collective::all_gather)
    request.collective = Collective::broadcast;
  if (request.collective == Collective::all_gather) {
    request.payload = drawn_bytes(plan_, index, site_);
    return request;
  }
  const std::uint64_t elements = operation.elements + (odd ? 1 : 0);
  if (moves_bytes(request.collective)) {
    const bool hands = request.collective == Collective::hand;
    request.algorithm = hands ? Algorithm::hand : Algorithm::broadcast;
    if (hands) request.order = operation.order;
    request.root = operation.root, request.bytes = elements;
    if (!has_part(operation, plan_.ranks().at(static_cast<std::size_t>(site_)))) return request;
    memory.bytes = drawn_bytes(plan_, index, site_);
    memory.bytes.resize(elements);
    request.output = memory.bytes;
    return request;
  }
  Request reduction = reduction_of(operation, operation.weights[static_cast<std::size_t>(site_)],
                                   drawn_floats(plan_, index, site_), odd, memory.reduction);
  return reduction;
}

void Site::finished(std::size_t index, const Outcome& outcome) {
  WorkReport& report = report_.works[index];
  report.done = true;
  report.status = outcome.status;
  report.contributors = outcome.contributors;
  report.ended_ns = now_ns_;
  const Memory& memory = memory_[index];
  report.result.assign(memory.output.begin(), memory.output.end());
  report.untouched = std::ranges::equal(memory.output, memory.before);
  for (const auto& payload : outcome.gathered)
    report.result.insert(report.result.end(), payload.begin(), payload.end());
}

// Closes when there is nothing to do any more; returns when to look again.
std::int64_t Site::go_on(std::int64_t close_after_ns) {
  if (closing_) return never_ns;
  if (now_ns_ < leave_ns_ && !report_.joined.done) return leave_ns_;
  const bool failed = !report_.joined.status.ok();
  const bool all_begun = failed || works_.size() == plan_.operations.size();
  const bool all_done = all_begun && std::ranges::all_of(works_, [](auto& w) { return w->done(); });
  if (all_done && close_ns_ == never_ns) close_ns_ = now_ns_ + close_after_ns;
  if (now_ns_ >= std::min(close_ns_, leave_ns_)) {
    closing_ = true;
    for (const auto& [peer, link] : engine_->stats().links) {
      report_.streams.emplace_back(peer, link.streams);
      report_.streams_lost += link.streams_broken;
      report_.streams_replaced += link.streams_replaced;
      report_.frames_again += link.frames_again;
    }
    engine_->close(now_ns_);
    return now_ns_;
  }
  const std::int64_t next_ns = all_begun ? never_ns : due_ns(works_.size());
  return std::min({close_ns_, leave_ns_, next_ns});
}

class Run {
 public:
  Run(const WorldPlan& plan, int log_events) : plan_(plan), net_(settings_for(plan, log_events)) {
    report_.sites.resize(plan.sites.size());
    const std::vector<int> ranks = plan.ranks();
    for (std::size_t i = 0; i < plan.sites.size(); ++i) {
      SiteReport& report = report_.sites[i];
      report.rank = ranks[i];
      report.works.resize(plan.operations.size());
      sites_.push_back(std::make_unique<Site>(net_.network(static_cast<int>(i)), plan,
                                              static_cast<int>(i), report));
    }
  }

  WorldReport run() {
    shape(net_, plan_);
    const int coordinator_host = plan_.world();
    auto listener =
        net_.network(coordinator_host).listen(address_of(coordinator_host, coordinator_port));
    ISTHMUS_CHECK(listener.ok());
    coordinator_ = std::make_unique<Coordinator>(std::move(*listener), plan_.seed);
    net_.add(coordinator_host, *coordinator_);
    for (const TroublePlan& trouble : plan_.troubles) arrange(trouble);
    for (int site = 0; site < plan_.world(); ++site)
      if (!absent(site)) net_.add(site, *sites_[static_cast<std::size_t>(site)]);
    for (int i = 0; i < plan_.strangers; ++i) {
      strangers_.push_back(
          std::make_unique<Stranger>(net_.network(coordinator_host + 1), plan_, i));
      net_.add(coordinator_host + 1, *strangers_.back());
    }
    report_.end = net_.run_until([this] { return over(); }, last_moment_ns(plan_));
    report_.ended_ns = net_.now_ns();
    report_.trace = net_.trace_hash();
    report_.events = net_.log();
    report_.broken =
        plan_.on_loss == OnLoss::carry_on ? judge_survivors(plan_, report_) : judge(plan_, report_);
    return std::move(report_);
  }

 private:
  bool absent(int site) const { return !report_.sites[static_cast<std::size_t>(site)].living; }

  bool over() const {
    return std::ranges::all_of(report_.sites,
                               [](const SiteReport& s) { return s.closed || !s.living; });
  }

  void arrange(const TroublePlan& t) {
    SiteReport& report = report_.sites[static_cast<std::size_t>(t.site)];
    if (t.kind == Trouble::absent) {
      report.living = false;
    } else if (t.kind == Trouble::leave) {
      sites_[static_cast<std::size_t>(t.site)]->leave_at(t.at_ns);
    } else if (t.kind == Trouble::lie) {
      net_.tamper(t.site, make_liar(t.lie, mix(plan_.seed), net_, t.at_ns, report_.lies));
    } else {
      net_.at(t.at_ns, [this, &t, &report] { strike(t, report); });
    }
  }

  bool joined(int site) const { return report_.sites[static_cast<std::size_t>(site)].joined.done; }

  void strike(const TroublePlan& t, SiteReport& report) {
    // While sites join, a stream that breaks ends that.
    if (is_of_data(t.kind) && !(joined(t.site) && joined(t.peer))) return;
    const bool for_good = t.kind == Trouble::freeze && t.for_ns == never_ns;
    if (t.kind == Trouble::kill || for_good) report.living = false;
    TroublePlan now = t;
    if (t.kind == Trouble::coordinator_killed) {
      now.kind = Trouble::kill;
      now.site = plan_.world();
    }
    isthmus::strike(net_, now, plan_.heartbeat_timeout_ns);
  }

  const WorldPlan& plan_;
  SimNet net_;
  WorldReport report_;
  std::vector<std::unique_ptr<Site>> sites_;
  std::unique_ptr<Coordinator> coordinator_;
  std::vector<std::unique_ptr<Stranger>> strangers_;
};

}  // namespace

WorldReport run_world(const WorldPlan& plan, int log_events) {
  return Run(plan, log_events).run();
}

}  // namespace isthmus
