// What the tests of joining see: whole joins in the simulator, and the codec of the messages. Not
// public.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/module.hpp"
#include "mesh/coordinator.hpp"
#include "mesh/messages.hpp"
#include "mesh/rendezvous.hpp"
#include "net/sim.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;

constexpr const char* coordinator_address = "site0:7000";
constexpr int coordinator_site = 0;

std::int64_t to_ns(double seconds) {
  return static_cast<std::int64_t>(seconds * static_cast<double>(second_ns));
}

template <class T>
T option(const py::dict& settings, const char* name, T otherwise) {
  return settings.contains(name) ? settings[name].cast<T>() : otherwise;
}

const char* name_of(Code code) {
  constexpr std::array names = {"ok",         "timeout",   "peer_lost",     "refused",
                                "wire_error", "cancelled", "internal_error"};
  return names[static_cast<std::size_t>(code)];
}

// A site that joins, and does at set times what its plan says.
class Joiner final : public Actor {
 public:
  Joiner(Network& network, const py::dict& plan)
      : network_(network),
        start_ns_(to_ns(option(plan, "start", 0.0))),
        deadline_ns_(start_ns_ + to_ns(option(plan, "timeout", 60.0))),
        leave_ns_(plan.contains("leave") ? to_ns(option(plan, "leave", 0.0)) : never_ns),
        report_ns_(plan.contains("report") ? to_ns(option(plan, "report", 0.0)) : never_ns),
        report_(option<std::string>(plan, "text", "")),
        again_(option(plan, "again", false)),
        meets_(option(plan, "meets", false)) {
    request_.run = option<std::string>(plan, "run", "run");
    request_.sites = plan["sites"].cast<int>();
    request_.codec_table = option<std::uint64_t>(plan, "codec_table", 1);
    request_.ticket = option<std::uint64_t>(plan, "ticket", 0);
    request_.self = {.site = plan["name"].cast<std::string>(),
                     .address = option<std::string>(plan, "address", ""),
                     .streams = option(plan, "streams", 0)};
  }

  std::int64_t step(std::int64_t now_ns) override {
    if (now_ns < start_ns_) return start_ns_;
    if (!rendezvous_) rendezvous_.emplace(network_, coordinator_address, request_, deadline_ns_);
    if (now_ns >= report_ns_) {
      report_ns_ = never_ns;
      rendezvous_->report(refused(report_));
    }
    if (now_ns >= leave_ns_) {
      leave_ns_ = never_ns;
      rendezvous_->leave();
    }
    std::int64_t next_ns = rendezvous_->step(now_ns);
    if (meets_ && rendezvous_->roster() != nullptr) rendezvous_->meet();
    if (again_ && !rendezvous_->broken().ok()) {
      rendezvous_->leave();
      request_.ticket += 1000;  // of another session
      rendezvous_.emplace(network_, coordinator_address, request_, deadline_ns_);
      next_ns = now_ns;
    }
    if (settled_ns_ < 0 && settled()) settled_ns_ = now_ns;
    return std::min({next_ns, leave_ns_, report_ns_});
  }

  bool settled() const {
    return rendezvous_ && (rendezvous_->roster() != nullptr || !rendezvous_->status().ok());
  }

  py::dict outcome() const {
    py::dict out;
    out["code"] = rendezvous_ ? name_of(rendezvous_->status().code) : "not begun";
    out["text"] = rendezvous_ ? rendezvous_->status().text : "";
    out["broken"] = rendezvous_ ? rendezvous_->broken().text : "";
    out["connected"] = rendezvous_ && rendezvous_->connected();
    out["settled"] = static_cast<double>(settled_ns_) / static_cast<double>(second_ns);
    out["roster"] = py::none();
    if (!rendezvous_ || rendezvous_->roster() == nullptr) return out;
    const Roster& roster = *rendezvous_->roster();
    py::list members;
    for (const Member& m : roster.members)
      members.append(py::make_tuple(m.site, m.address, m.streams));
    py::dict seen;
    seen["generation"] = roster.generation;
    seen["run"] = roster.run;
    seen["members"] = members;
    out["roster"] = seen;
    return out;
  }

 private:
  Network& network_;
  std::int64_t start_ns_;
  std::int64_t deadline_ns_;
  std::int64_t leave_ns_;
  std::int64_t report_ns_;
  std::string report_;
  bool again_;  // it comes once more when a site is lost while all join
  bool meets_;  // the others, as soon as it has the roster
  JoinRequest request_;
  std::optional<Rendezvous> rendezvous_;
  std::int64_t settled_ns_ = -1;
};

// Says its bytes to whoever accepts it or connects to it, and keeps what it hears.
class Stranger final : public Actor {
 public:
  Stranger(Network& network, std::string says, std::int64_t start_ns, bool listens)
      : network_(network), says_(std::move(says)), start_ns_(start_ns), listens_(listens) {}

  std::int64_t step(std::int64_t now_ns) override {
    if (now_ns < start_ns_) return start_ns_;
    if (listens_ && !listener_) listener_ = std::move(*network_.listen(coordinator_address));
    if (!listens_ && !asked_) open(network_.connect(coordinator_address));
    asked_ = true;
    while (auto stream = listener_ ? listener_->accept() : nullptr) open(std::move(stream));
    for (Talk& talk : talks_) converse(talk);
    return never_ns;
  }

  const std::string& heard() const { return heard_; }
  bool closed() const { return closed_; }

 private:
  struct Talk {
    std::unique_ptr<Stream> stream;
    std::size_t said = 0;
  };

  void open(Result<std::unique_ptr<Stream>> stream) {
    if (stream.ok()) talks_.push_back({.stream = std::move(*stream)});
  }

  void converse(Talk& talk) {
    if (!talk.stream) return;
    std::array<std::byte, 4096> bytes;
    const ByteSpan into(bytes);
    auto got = talk.stream->read(std::span(&into, 1));
    for (; got.ok() && *got > 0; got = talk.stream->read(std::span(&into, 1)))
      heard_.append(reinterpret_cast<const char*>(bytes.data()), *got);
    const ByteView rest = std::as_bytes(std::span(says_)).subspan(talk.said);
    const auto wrote = talk.stream->write(std::span(&rest, 1));
    if (wrote.ok()) talk.said += *wrote;
    if (got.ok() && wrote.ok()) return;
    closed_ = true;
    talk.stream.reset();
  }

  Network& network_;
  std::string says_;
  std::int64_t start_ns_;
  bool listens_;
  bool asked_ = false;
  std::unique_ptr<Listener> listener_;
  std::vector<Talk> talks_;
  std::string heard_;
  bool closed_ = false;
};

// Coordinators live from each `from` to its `until`; sites and strangers act by their plans until
// `end`.
py::dict sim_join(const std::vector<py::dict>& sites, const std::vector<py::dict>& strangers,
                  const std::vector<std::pair<double, double>>& coordinators, py::object impostor,
                  double end, std::uint64_t seed) {
  SimNet net({.sites = static_cast<int>(1 + sites.size() + strangers.size()), .seed = seed});
  std::vector<std::unique_ptr<Actor>> keepers;
  for (const auto& [from, until] : coordinators) {
    net.at(to_ns(from), [&, from] {
      if (from > 0) net.revive(coordinator_site);
      auto listener = net.network(coordinator_site).listen(coordinator_address);
      if (!listener.ok()) throw std::runtime_error(listener.status().text);
      const std::uint64_t own_seed = seed + keepers.size();
      keepers.push_back(std::make_unique<Coordinator>(std::move(*listener), own_seed));
      net.add(coordinator_site, *keepers.back());
    });
    if (until < end) net.at(to_ns(until), [&] { net.kill(coordinator_site); });
  }
  if (!impostor.is_none()) {
    keepers.push_back(std::make_unique<Stranger>(net.network(coordinator_site),
                                                 impostor.cast<std::string>(), 0, true));
    net.add(coordinator_site, *keepers.back());
  }
  int at = coordinator_site;
  std::vector<std::unique_ptr<Joiner>> joiners;
  for (const py::dict& plan : sites) {
    joiners.push_back(std::make_unique<Joiner>(net.network(++at), plan));
    net.add(at, *joiners.back());
    if (plan.contains("die"))
      net.at(to_ns(plan["die"].cast<double>()), [&net, at] { net.kill(at); });
  }
  std::vector<std::unique_ptr<Stranger>> guests;
  for (const py::dict& plan : strangers) {
    guests.push_back(std::make_unique<Stranger>(net.network(++at), plan["says"].cast<std::string>(),
                                                to_ns(option(plan, "start", 0.0)), false));
    net.add(at, *guests.back());
  }
  const SimEnd ended = net.run_until([] { return false; }, to_ns(end));

  py::list outcomes;
  for (const auto& joiner : joiners) outcomes.append(joiner->outcome());
  py::list heard;
  for (const auto& guest : guests)
    heard.append(py::make_tuple(py::bytes(guest->heard()), guest->closed()));
  py::dict out;
  out["sites"] = outcomes;
  out["strangers"] = heard;
  out["livelock"] = ended == SimEnd::livelock;
  return out;
}

ByteView view_of(const std::string& bytes) {
  return std::as_bytes(std::span(bytes));
}

template <class T>
py::object kept(const Result<T>& decoded, const std::string& bytes,
                std::vector<std::byte> (*encode)(const T&)) {
  if (!decoded.ok()) throw py::value_error(decoded.status().text);
  const std::vector<std::byte> again = encode(*decoded);
  return py::bool_(std::ranges::equal(view_of(bytes), ByteView(again)));
}

// Whether the decoded payload gives the same bytes again; ValueError: it is not valid.
py::object decodes(const std::string& kind, const std::string& bytes) {
  if (kind == "join") return kept(decode_join(view_of(bytes)), bytes, &encode_join);
  if (kind == "roster") return kept(decode_attendance(view_of(bytes)), bytes, &encode_attendance);
  if (kind == "presence") return kept(decode_presence(view_of(bytes)), bytes, &encode_presence);
  if (kind == "waiting") return kept(decode_waiting(view_of(bytes)), bytes, &encode_waiting);
  if (kind == "call") return kept(decode_call(view_of(bytes)), bytes, &encode_call);
  const auto text = decode_refusal(view_of(bytes));
  if (!text.ok()) throw py::value_error(text.status().text);
  return py::str(*text);
}

py::bytes frame(int kind, const std::string& payload) {
  const HeaderBytes head = to_bytes(
      {.kind = static_cast<Kind>(kind), .length = static_cast<std::uint32_t>(payload.size())});
  return std::string(reinterpret_cast<const char*>(head.data()), head.size()) + payload;
}

}  // namespace

void register_mesh_testing(py::module_& m) {
  m.def("sim_join", &sim_join, py::kw_only(), py::arg("sites"), py::arg("strangers"),
        py::arg("coordinators"), py::arg("impostor"), py::arg("end"), py::arg("seed"));
  m.def("mesh_payload_decodes", &decodes, py::arg("kind"), py::arg("payload"));
  m.def("mesh_frame", &frame, py::arg("kind"), py::arg("payload"));
}

}  // namespace isthmus
