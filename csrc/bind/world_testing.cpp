// Whole worlds in the simulator, drawn by a seed or written down by a test. Not public.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>

#include "bind/module.hpp"
#include "codecs/codec.hpp"
#include "mesh/mesh.hpp"
#include "session/pacer.hpp"
#include "simulation/world.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

constexpr std::array code_names = {"ok",         "timeout",   "peer_lost",     "refused",
                                   "wire_error", "cancelled", "internal_error"};
constexpr std::array end_names = {"reached", "out_of_time", "stuck", "livelock"};
constexpr std::array trouble_names = {"kill",  "freeze",  "cut",      "isolate",
                                      "clog",  "slow",    "truncate", "corrupt",
                                      "lie",   "leave",   "absent",   "coordinator_killed",
                                      "reset", "silence", "payload",  "control"};
constexpr std::array lie_names = {"offset", "length",  "transfer", "operation",
                                  "source", "garbage", "twice"};
constexpr std::array collective_names = {"",           "all_reduce", "broadcast",
                                         "all_gather", "swap",       "hand"};
constexpr std::array algorithm_names = {"",          "direct", "gather", "ring",
                                        "broadcast", "swap",   "hand"};

constexpr int most_sites = 26;  // their names begin with the letters in turn

template <class T, std::size_t n>
T named(const std::array<const char*, n>& names, const std::string& name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end() || name.empty()) throw py::value_error("no such thing: " + name);
  return static_cast<T>(found - names.begin());
}

std::int64_t to_ns(double seconds) {
  return static_cast<std::int64_t>(seconds * static_cast<double>(second_ns));
}

double to_seconds(std::int64_t ns) {
  return static_cast<double>(ns) / static_cast<double>(second_ns);
}

// Takes what it knows out of a dictionary; what is left over is a mistake.
class Settings {
 public:
  explicit Settings(const py::dict& values) : values_(values.attr("copy")()) {}

  template <class T>
  bool take(const char* name, T& into) {
    if (!values_.contains(name)) return false;
    into = values_.attr("pop")(name).cast<T>();
    return true;
  }
  void take_time(const char* name, std::int64_t& into) {
    if (double seconds = 0; take(name, seconds)) into = to_ns(seconds);
  }
  void end() const {
    if (!values_.empty())
      throw py::value_error("unknown settings: " + py::repr(values_).cast<std::string>());
  }

 private:
  py::dict values_;
};

OperationPlan operation_from(const py::dict& values, std::size_t world) {
  Settings s(values);
  OperationPlan plan;
  std::string name;
  if (s.take("collective", name)) plan.collective = named<Collective>(collective_names, name);
  if (s.take("algorithm", name)) plan.algorithm = named<Algorithm>(algorithm_names, name);
  s.take("elements", plan.elements);
  s.take("slice_elements", plan.slice_elements);
  s.take("order", plan.order);
  std::pair<std::string, std::string> codec("f32", "f32");
  s.take("codec", codec);
  if (codecs::find(codec.first) == nullptr || codecs::find(codec.second) == nullptr)
    throw py::value_error("no such codec: " + codec.first + " or " + codec.second);
  plan.segments = {{.up = codec.first, .down = codec.second, .elements = plan.elements}};
  s.take("mean", plan.mean);
  s.take("root", plan.root);
  s.take("odd_site", plan.odd_site);
  plan.weights.assign(world, 1.0F);
  s.take("weights", plan.weights);
  std::vector<double> submit(world, 0.0);
  s.take("submit", submit);
  for (const double at : submit) plan.submit_ns.push_back(to_ns(at));
  s.end();
  if (plan.submit_ns.size() != world || plan.weights.size() != world)
    throw py::value_error("submit and weights have one entry a site");
  return plan;
}

// Times count from the moment at which operations begin.
TroublePlan trouble_from(const py::dict& values, const WorldPlan& world) {
  Settings s(values);
  TroublePlan plan;
  std::string name;
  if (s.take("kind", name)) plan.kind = named<Trouble>(trouble_names, name);
  if (s.take("lie", name)) plan.lie = named<Lie>(lie_names, name);
  s.take_time("at", plan.at_ns);
  plan.at_ns += world.begin_ns();
  s.take_time("seconds", plan.for_ns);
  s.take("site", plan.site);
  s.take("peer", plan.peer);
  s.take("factor", plan.factor);
  plan.damage = plan.at_ns / millisecond_ns % 2 == 0 ? Damage::header : Damage::any;
  s.end();
  if (plan.site < 0 || plan.site >= world.world() || plan.peer < 0 || plan.peer >= world.world())
    throw py::value_error("there is no such site");
  return plan;
}

StreamsPlan streams_from(const py::dict& values, const WorldPlan& world) {
  Settings s(values);
  StreamsPlan plan;
  s.take_time("at", plan.at_ns);
  plan.at_ns += world.begin_ns();
  s.take("site", plan.site);
  s.take("peer", plan.peer);
  s.take("count", plan.count);
  s.end();
  const int most = world.world() - 1;
  if (std::min({plan.site, plan.peer}) < 0 || std::max(plan.site, plan.peer) > most)
    throw py::value_error("there is no such site");
  return plan;
}

void be_even(WorldPlan& plan, int world) {
  plan.sites.clear();
  for (int i = 0; i < world; ++i) {
    SitePlan site;
    site.name = std::string(1, static_cast<char>('a' + i)) + "-site";
    plan.sites.push_back(site);
  }
  plan.latency_ns.assign(static_cast<std::size_t>(world * world), 20 * millisecond_ns);
  plan.jitter_ns = 0;
  plan.loss = 0;
  plan.strangers = 0;
  plan.blocks.clear();
  plan.window_bytes = 64 << 20;
  plan.torn = false;
  plan.heartbeat_timeout_ns = 5 * second_ns;
  plan.timeout_ns = 20 * second_ns;
  plan.operations.clear();
  plan.troubles.clear();
  plan.streams.clear();
}

void take_losses(Settings& s, WorldPlan& plan) {
  bool carry_on = plan.on_loss == OnLoss::carry_on;
  s.take("carry_on", carry_on);
  plan.on_loss = carry_on ? OnLoss::carry_on : OnLoss::raise;
  s.take("min_sites", plan.min_sites);
  s.take("favourite", plan.favourite);
  s.take("torn", plan.torn);
}

// Sites that do not listen, and sites whose data passes no third one.
void take_manners(Settings& s, WorldPlan& plan) {
  std::vector<int> mute;
  s.take("without_listener", mute);
  for (const int site : mute) plan.sites.at(static_cast<std::size_t>(site)).listens = false;
  std::vector<int> strict;
  s.take("without_relay", strict);
  for (const int site : strict) plan.sites.at(static_cast<std::size_t>(site)).relays = false;
}

// A drawn world, or with `sites` an even one that only has what the settings say.
WorldPlan plan_from(std::uint64_t seed, const py::dict& values) {
  Settings s(values);
  bool faults = true;
  s.take("faults", faults);
  bool losses = false;
  s.take("losses", losses);
  WorldPlan plan = losses ? draw_losses(seed) : draw_world(seed, faults);
  int world = 0;
  if (s.take("sites", world)) {
    if (world < 2 || world > most_sites)
      throw py::value_error("2 to " + std::to_string(most_sites) + " sites");
    be_even(plan, world);
  }
  std::int64_t bits_per_s = -1, close_after_ns = -1, latency_ns = -1;
  s.take("bits_per_s", bits_per_s);
  s.take_time("close_after", close_after_ns);
  s.take_time("latency", latency_ns);
  take_losses(s, plan);
  s.take("loss", plan.loss);
  s.take("window_bytes", plan.window_bytes);
  int streams = 0;
  s.take("streams", streams);
  s.take("max_segment_bytes", plan.max_segment_bytes);
  s.take_time("heartbeat_timeout", plan.heartbeat_timeout_ns);
  s.take_time("timeout", plan.timeout_ns);
  for (SitePlan& site : plan.sites) {
    if (bits_per_s >= 0) site.up_bits_per_s = site.down_bits_per_s = bits_per_s;
    if (streams > 0) site.streams = streams;
    if (close_after_ns >= 0) site.close_after_ns = close_after_ns;
  }
  std::vector<std::tuple<int, int, bool>> blocks;
  if (s.take("blocks", blocks)) {
    plan.blocks.clear();
    for (const auto& [from, to, refuses] : blocks) plan.blocks.push_back({from, to, refuses});
  }
  take_manners(s, plan);
  if (latency_ns >= 0) std::ranges::fill(plan.latency_ns, latency_ns);
  std::vector<py::dict> list;
  if (s.take("operations", list)) {
    plan.operations.clear();
    for (const auto& one : list) plan.operations.push_back(operation_from(one, plan.sites.size()));
  }
  if (s.take("troubles", list)) {
    plan.troubles.clear();
    for (const auto& one : list) plan.troubles.push_back(trouble_from(one, plan));
  }
  if (s.take("changes", list)) {
    plan.streams.clear();
    for (const auto& one : list) plan.streams.push_back(streams_from(one, plan));
  }
  s.end();
  return plan;
}

std::string name_of_rank(const WorldPlan& plan, int rank) {
  const std::vector<int> ranks = plan.ranks();
  const auto site = std::ranges::find(ranks, rank) - ranks.begin();
  return plan.sites.at(static_cast<std::size_t>(site)).name;
}

py::list names_of(const std::vector<int>& ranks, const WorldPlan& plan) {
  py::list names;
  for (const int rank : ranks) names.append(name_of_rank(plan, rank));
  return names;
}

py::dict to_python(const WorkReport& work, const WorldPlan& plan) {
  py::dict out;
  const bool done = work.done;
  out["code"] = !work.begun ? "not begun"
                : !done     ? "not done"
                            : code_names[static_cast<std::size_t>(work.status.code)];
  out["text"] = work.status.text;
  out["site"] = py::none();
  if (done && work.status.peer >= 0) out["site"] = name_of_rank(plan, work.status.peer);
  out["contributors"] = names_of(work.contributors, plan);
  out["begun"] = to_seconds(work.begun_ns - plan.begin_ns());
  out["ended"] = to_seconds(work.ended_ns - plan.begin_ns());
  return out;
}

py::dict simulate(std::uint64_t seed, const py::kwargs& settings) {
  py::dict rest = settings.attr("copy")();
  int log_events = 0;
  if (rest.contains("log_events")) log_events = rest.attr("pop")("log_events").cast<int>();
  const WorldPlan plan = plan_from(seed, rest);
  WorldReport report;
  {
    const py::gil_scoped_release release;
    report = run_world(plan, log_events);
  }
  py::list sites;
  for (std::size_t i = 0; i < plan.sites.size(); ++i) {
    const SiteReport& site = report.sites[i];
    py::list works;
    for (const WorkReport& work : site.works) works.append(to_python(work, plan));
    py::dict ways;
    for (std::size_t peer = 0; peer < site.ways.size(); ++peer)
      if (site.ways[peer] != direct_way)
        ways[py::str(name_of_rank(plan, static_cast<int>(peer)))] =
            name_of_rank(plan, site.ways[peer]);
    sites.append(py::dict(
        "name"_a = plan.sites[i].name, "living"_a = site.living, "closed"_a = site.closed,
        "joined"_a = to_python(site.joined, plan), "by_way_of"_a = ways,
        "roster"_a = names_of(site.roster, plan), "failure"_a = site.failure.text,
        "again"_a = site.again, "taken"_a = site.taken, "works"_a = works,
        "streams"_a = site.streams, "streams_lost"_a = site.streams_lost,
        "streams_replaced"_a = site.streams_replaced, "frames_again"_a = site.frames_again));
  }
  return py::dict("world"_a = describe(plan), "sites"_a = sites, "broken"_a = report.broken,
                  "end"_a = end_names[static_cast<std::size_t>(report.end)],
                  "seconds"_a = to_seconds(report.ended_ns), "trace"_a = report.trace,
                  "lies"_a = report.lies, "events"_a = report.events);
}

}  // namespace

void register_world_testing(py::module_& m) {
  m.def("simulate", &simulate, py::arg("seed"));
  py::class_<Pacer>(m, "Pacer")
      .def(py::init([](double all, std::vector<double> peers) {
             return Pacer(Paces{all, std::move(peers)});
           }),
           py::arg("all"), py::arg("peers"))
      .def("ready_ns", &Pacer::ready_ns, py::arg("peer"), py::arg("now_ns"))
      .def("spend", &Pacer::spend, py::arg("peer"), py::arg("bytes"));
}

}  // namespace isthmus
