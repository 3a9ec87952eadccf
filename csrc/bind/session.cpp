// Session and Work for Python: arguments in, exceptions out, the GIL let go where calls wait.
#include "session/session.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <list>

#include "bind/errors.hpp"
#include "bind/module.hpp"
#include "bind/requests.hpp"
#include "bind/segments.hpp"
#include "bind/stats.hpp"
#include "bind/work.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

constexpr int max_codec_threads = 64;
constexpr std::array losses = {"raise", "continue", "wait"};  // as in OnLoss

class BoundSession {
 public:
  // Waits until it has joined, unless it follows a call: then see joined().
  explicit BoundSession(const SessionOptions& options) {
    const SteadyClock clock;
    const std::int64_t deadline_ns = clock.now_ns() + options.timeout_ns;
    SessionOptions again = options;
    while (true) {
      auto opened = Session::open(again);
      if (!opened.ok()) raise(opened.status());
      session_ = std::move(*opened);
      if (options.call.epoch != 0) return;
      wait_for(*session_->joined(), std::nullopt);
      const Status status = session_->joined()->outcome().status;
      if (status.ok()) return;
      // The call that a new site was to follow has failed, perhaps for another one: it waits again.
      again.timeout_ns = deadline_ns - clock.now_ns();
      if (!session_->was_called() || again.timeout_ns <= 0) fail_to_join();
      close();
    }
  }
  ~BoundSession() {
    if (session_ != nullptr && session_->usable().ok()) close();
  }
  BoundSession(const BoundSession&) = delete;
  BoundSession& operator=(const BoundSession&) = delete;

  // Whether it has within `seconds`; raises why not.
  bool joined(double seconds) {
    if (auto s = session_->usable(); !s.ok()) raise(s);
    if (!wait_for(*session_->joined(), seconds)) return false;
    if (!session_->joined()->outcome().status.ok()) fail_to_join();
    return true;
  }
  std::shared_ptr<Session> native() const { return session_; }

  void attend(bool changed_over, std::uint32_t failed) const {
    session_->attend(changed_over ? Standing::training : Standing::ready, failed);
  }
  py::object next_call(std::uint32_t after, double seconds) const {
    std::optional<Call> call;
    {
      const py::gil_scoped_release release;
      call = session_->wait_for_call(after, to_ns(seconds));
    }
    if (!call) return py::none();
    return py::make_tuple(call->epoch, call->sites);
  }
  std::uint32_t epoch() const { return session_->epoch(); }
  bool whole() const { return session_->whole(); }
  bool stuck() const {
    if (auto s = session_->usable(); !s.ok()) raise(s);
    const py::gil_scoped_release release;
    return session_->stuck();
  }
  std::vector<int> present() const { return ranks_of(&Session::present); }
  std::vector<int> lawful() const { return ranks_of(&Session::lawful); }

  int rank() const { return session_->rank(); }
  std::size_t world_size() const { return session_->roster().members.size(); }
  std::uint32_t generation() const { return session_->roster().generation; }
  std::vector<std::string> sites() const {
    std::vector<std::string> names;
    for (const Member& member : session_->roster().members) names.push_back(member.site);
    return names;
  }
  py::list relayed() const {
    py::list pairs;
    for (const auto [a, b, by] : session_->relayed()) pairs.append(py::make_tuple(a, b, by));
    return pairs;
  }

  BoundWork exchange(const py::buffer& wire, const py::buffer& out, const SegmentNames& segments,
                     bool mean, float weight, const std::string& schedule, std::uint64_t layout,
                     bool terms) {
    const py::buffer_info in = request_buffer(wire, false, "wire");
    const py::buffer_info to = request_buffer(out, true, "out");
    Request request{.collective = Collective::all_reduce,
                    .input = {static_cast<const std::byte*>(in.ptr), bytes_of(in)},
                    .output = {static_cast<std::byte*>(to.ptr), bytes_of(to)},
                    .segments = segments_named(segments),
                    .terms = terms,
                    .mean = mean,
                    .weight = weight,
                    .layout = layout};
    const Format format(request.segments);
    if (in.size == 0 || to.size == 0)
      raise(refused("there is nothing to reduce: the array is empty"));
    if (!terms) check_floats(to, format.elements());
    if (request.input.size() != format.input_bytes())
      raise(refused("wire has " + std::to_string(request.input.size()) + " bytes; " +
                    title_of(request.segments) + " of " + std::to_string(format.elements()) +
                    " elements has " + std::to_string(format.input_bytes())));
    if (!(weight >= 0) || weight > 1e30f)
      raise(refused("weight must be a number of zero or more, not " + std::to_string(weight)));
    Choice choice = choice_for(schedule, format, terms);
    request.algorithm = choice.algorithm;
    request.shares = std::move(choice.shares);
    request.order = std::move(choice.order);
    request.slice_elements = choice.slice_elements;
    if (const std::uint64_t bytes = terms_of(request.algorithm, world(), format).bytes();
        terms && request.output.size() != bytes)
      raise(refused("out has " + std::to_string(request.output.size()) + " bytes; the terms have " +
                    std::to_string(bytes)));
    return submit(std::move(request), py::make_tuple(wire, out));
  }

  py::tuple terms(const SegmentNames& segments, const std::string& schedule) const {
    const Format format(segments_named(segments));
    const Terms terms = terms_of(choice_for(schedule, format, true).algorithm, world(), format);
    SegmentNames names;
    for (const Segment& s : terms.format.segments())
      names.emplace_back(s.up->name, s.down->name, s.elements);
    return py::make_tuple(terms.count, terms.stride, names);
  }

  BoundWork broadcast(const py::buffer& data, int root) {
    const py::buffer_info info = request_buffer(data, true, "data");
    if (root < 0 || root >= static_cast<int>(world_size()))
      raise(refused("root must be a rank of 0 to " + std::to_string(world_size() - 1) + ", not " +
                    std::to_string(root)));
    Request request{.collective = Collective::broadcast,
                    .output = {static_cast<std::byte*>(info.ptr), bytes_of(info)},
                    .algorithm = Algorithm::broadcast,
                    .root = root};
    return submit(std::move(request), py::make_tuple(data));
  }

  BoundWork swap(const py::buffer& data, int round, const std::vector<std::uint16_t>& among) {
    const py::buffer_info info = request_buffer(data, true, "data");
    const bool known = std::ranges::all_of(among, [this](int rank) { return rank < world(); });
    if (!known || !std::ranges::is_sorted(among) || has_twins(among))
      raise(refused("among must be ranks below " + std::to_string(world()) + ", in order"));
    const int last = swap_rounds(static_cast<int>(among.size())) - 1;
    if (round < 0 || round > last)
      raise(
          refused("round must be 0 to " + std::to_string(last) + ", not " + std::to_string(round)));
    Request request{.collective = Collective::swap,
                    .output = {static_cast<std::byte*>(info.ptr), bytes_of(info)},
                    .algorithm = Algorithm::swap,
                    .order = among,
                    .root = round};
    return submit(std::move(request), py::make_tuple(data));
  }

  // `data`: the root's or a taker's bytes; None: this site has no part in it.
  BoundWork hand(const py::object& data, std::uint64_t bytes, int root,
                 const std::vector<std::uint16_t>& takers) {
    Request request{.collective = Collective::hand,
                    .algorithm = Algorithm::hand,
                    .order = takers,
                    .root = root,
                    .bytes = bytes};
    const auto is_rank = [this](int rank) { return rank >= 0 && rank < world(); };
    if (!is_rank(root) || !std::ranges::all_of(takers, is_rank) || has_twins(takers))
      raise(refused("root and takers must be ranks of 0 to " + std::to_string(world() - 1) +
                    ", each taker once"));
    const bool takes = std::ranges::find(takers, rank()) != takers.end();
    if (data.is_none() == (takes || rank() == root))
      raise(refused("the root and the takers, and nobody else, bring memory"));
    if (!data.is_none()) {
      const py::buffer_info info = request_buffer(py::buffer(data), true, "data");
      request.output = {static_cast<std::byte*>(info.ptr), bytes_of(info)};
      if (request.output.size() != bytes)
        raise(refused("data has " + std::to_string(request.output.size()) + " bytes, not " +
                      std::to_string(bytes)));
    }
    return submit(std::move(request), py::make_tuple(data));
  }

  BoundWork all_gather(const py::bytes& data) {
    const std::string_view view = data;
    if (view.size() > max_gather_bytes)
      raise(refused("all_gather takes at most " + std::to_string(max_gather_bytes) +
                    " bytes a site, not " + std::to_string(view.size()) +
                    "; use broadcast for more"));
    const auto bytes = std::as_bytes(std::span(view));
    return submit(Request{.payload = {bytes.begin(), bytes.end()}}, py::none());
  }

  std::shared_ptr<Events> events() const { return session_->events(); }

  std::optional<BoundWork> next_completion() {
    std::shared_ptr<Work> work;
    {
      const py::gil_scoped_release release;
      work = session_->next_completion();
    }
    if (work == nullptr) return std::nullopt;
    return BoundWork{std::move(work), session_};
  }

  py::dict stats() const {
    if (auto s = session_->usable(); !s.ok()) raise(s);
    EngineStats stats;
    {
      const py::gil_scoped_release release;
      stats = session_->stats();
    }
    return to_dict(stats, session_->roster());
  }

  void set_paths(std::shared_ptr<Paths> paths) {
    if (paths != nullptr && paths->world != world())
      raise(refused("paths of " + std::to_string(paths->world) + " sites, but the session has " +
                    std::to_string(world())));
    session_->set_paths(std::move(paths));
  }
  void set_paces(double all, std::vector<double> peers) {
    if (!peers.empty() && static_cast<int>(peers.size()) != world())
      raise(refused("paces of " + std::to_string(peers.size()) + " peers, but the session has " +
                    std::to_string(world())));
    peers.push_back(all);
    for (const double pace : peers)
      if (!(pace >= 0 && pace < 1e15))
        raise(refused("a pace of " + std::to_string(pace) + " bytes a second"));
    peers.pop_back();
    session_->set_paces({all, std::move(peers)});
  }

  void abort(const std::string& code, const std::string& text, int peer) {
    if (auto s = session_->usable(); !s.ok()) raise(s);
    if (peer < -1 || peer >= static_cast<int>(world_size()))
      raise(refused("peer must be a rank of the session or -1, not " + std::to_string(peer)));
    session_->abort({code_named(code), peer, text});
  }

  void set_streams(int peer, int count) {
    if (peer < 0 || peer >= static_cast<int>(world_size()) || count < 1 ||
        count > Link::max_streams)
      raise(refused(std::to_string(count) + " streams to rank " + std::to_string(peer)));
    session_->set_streams(peer, count);
  }

  void close() {
    {
      const py::gil_scoped_release release;
      session_->close();
    }
    borrowed_.clear();
  }

 private:
  std::vector<int> ranks_of(SiteSet (Session::*asked)()) const {
    const py::gil_scoped_release release;
    return (session_.get()->*asked)().ranks();
  }

  void fail_to_join() {
    const Status status = session_->joined()->outcome().status;
    const BoundWork joined{session_->joined(), session_};
    close();
    joined.raise_status(status);
  }
  int world() const { return static_cast<int>(world_size()); }
  // One site alone has its own input as the only term, whatever the schedule.
  Choice choice_for(const std::string& name, const Format& format, bool terms) const {
    Choice choice = session_->choice_for(algorithm_named(name, format), format);
    if (terms && world() == 1) choice.algorithm = Algorithm::gather;
    return choice;
  }

  BoundWork submit(Request request, py::object memory) {
    // The engine reads and writes the caller's memory until the work is done, whoever else lets go
    // of it.
    borrowed_.remove_if([](const auto& entry) { return entry.first->done(); });
    auto work = session_->submit(std::move(request));
    if (!work.ok()) raise(work.status());
    borrowed_.emplace_back(*work, std::move(memory));
    return {*work, session_};
  }

  std::shared_ptr<Session> session_;
  std::list<std::pair<std::shared_ptr<Work>, py::object>> borrowed_;
};

std::unique_ptr<BoundSession> open_session(std::string rendezvous, std::string site, int sites,
                                           std::string run, bool serve, std::string listen,
                                           std::string advertise, int streams, double timeout,
                                           double heartbeat, std::string congestion, bool relay,
                                           int codec_threads, const std::string& on_loss,
                                           int min_sites, std::string favourite,
                                           std::uint32_t epoch, std::vector<std::string> called,
                                           const BoundSession* predecessor) {
  std::shared_ptr<Keeper> keeper;
  if (predecessor != nullptr) keeper = predecessor->native()->keeper();
  if (sites < 1 || sites > max_sites)
    raise(refused("sites must be 1 to " + std::to_string(max_sites) + ", not " +
                  std::to_string(sites)));
  if (streams < 0 || streams > max_streams)
    raise(refused("streams must be 0 (by itself) to " + std::to_string(max_streams) + ", not " +
                  std::to_string(streams)));
  if (!(timeout > 0 && timeout < 1e6) || !(heartbeat > 0 && heartbeat < 1e6))
    raise(refused("timeout and heartbeat are seconds above zero"));
  if (codec_threads < 0 || codec_threads > max_codec_threads)
    raise(refused("codec_threads must be 0 (none) to " + std::to_string(max_codec_threads) +
                  ", not " + std::to_string(codec_threads)));
  const auto policy = std::ranges::find(losses, on_loss);
  if (policy == losses.end())
    raise(refused("on_loss must be \"raise\", \"continue\" or \"wait\", not \"" + on_loss + "\""));
  if (min_sites < 1 || min_sites > sites)
    raise(refused("min_sites must be 1 to the number of sites, not " + std::to_string(min_sites)));
  return std::make_unique<BoundSession>(
      SessionOptions{.rendezvous = std::move(rendezvous),
                     .run = std::move(run),
                     .site = std::move(site),
                     .sites = sites,
                     .call = {.epoch = epoch, .sites = std::move(called)},
                     .serve = serve,
                     .keeper = std::move(keeper),
                     .listen = std::move(listen),
                     .advertise = std::move(advertise),
                     .streams = streams,
                     .timeout_ns = to_ns(timeout),
                     .heartbeat_timeout_ns = to_ns(heartbeat),
                     .relays = relay,
                     .on_loss = static_cast<OnLoss>(policy - losses.begin()),
                     .min_sites = min_sites,
                     .favourite = std::move(favourite),
                     .codec_threads = codec_threads,
                     .tcp = {.congestion = std::move(congestion)}});
}

}  // namespace

void register_session(py::module_& m) {
  register_work(m);
  m.def(
      "segment_offsets",
      [](const SegmentNames& segments) { return Format(segments_named(segments)).offsets(); },
      "segments"_a);
  py::class_<BoundSession>(m, "Session")
      .def(py::init(&open_session), py::kw_only(), "rendezvous"_a, "site"_a, "sites"_a, "run"_a,
           "serve"_a, "listen"_a, "advertise"_a, "streams"_a, "timeout"_a, "heartbeat"_a,
           "congestion"_a, "relay"_a, "codec_threads"_a, "on_loss"_a = "raise", "min_sites"_a = 1,
           "favourite"_a = "", "epoch"_a = 0, "called"_a = std::vector<std::string>{},
           "predecessor"_a = nullptr)
      .def("joined", &BoundSession::joined, "timeout"_a)
      .def("attend", &BoundSession::attend, py::kw_only(), "changed_over"_a, "failed"_a = 0)
      .def("next_call", &BoundSession::next_call, py::kw_only(), "after"_a, "timeout"_a)
      .def("stop_listening",
           [](const BoundSession& s) {
             const auto native = s.native();
             const py::gil_scoped_release release;
             native->stop_listening();
           })
      .def_property_readonly("epoch", &BoundSession::epoch)
      .def_property_readonly("whole", &BoundSession::whole)
      .def_property_readonly("stuck", &BoundSession::stuck)
      .def_property_readonly("present", &BoundSession::present)
      .def_property_readonly("lawful", &BoundSession::lawful)
      .def_property_readonly("rank", &BoundSession::rank)
      .def_property_readonly("world_size", &BoundSession::world_size)
      .def_property_readonly("generation", &BoundSession::generation)
      .def_property_readonly("sites", &BoundSession::sites)
      .def_property_readonly("relayed", &BoundSession::relayed)
      .def("exchange", &BoundSession::exchange, "wire"_a, "out"_a, py::kw_only(), "segments"_a,
           "mean"_a, "weight"_a, "schedule"_a, "layout"_a, "terms"_a = false)
      .def("terms", &BoundSession::terms, "segments"_a, py::kw_only(), "schedule"_a)
      .def("broadcast", &BoundSession::broadcast, "data"_a, py::kw_only(), "root"_a)
      .def("swap", &BoundSession::swap, "data"_a, py::kw_only(), "round"_a, "among"_a)
      .def("hand", &BoundSession::hand, "data"_a, py::kw_only(), "bytes"_a, "root"_a, "takers"_a)
      .def("all_gather", &BoundSession::all_gather, "data"_a)
      .def_property_readonly("events", &BoundSession::events)
      .def("next_completion", &BoundSession::next_completion)
      .def("set_paths", &BoundSession::set_paths, "paths"_a)
      .def("set_paces", &BoundSession::set_paces, "all"_a, "peers"_a = std::vector<double>{})
      .def("set_streams", &BoundSession::set_streams, "peer"_a, "count"_a)
      .def("stats", &BoundSession::stats)
      .def("abort", &BoundSession::abort, py::kw_only(), "code"_a, "text"_a, "peer"_a)
      .def("close", &BoundSession::close);
}

}  // namespace isthmus
