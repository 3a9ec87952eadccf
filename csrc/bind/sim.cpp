// What the tests of csrc/net see: SimNet with its streams, actors written in Python, and frames.
// Not public.
#include "net/sim.hpp"

#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "bind/errors.hpp"
#include "bind/module.hpp"
#include "net/channel.hpp"
#include "net/crc32c.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

template <class T>
T value_of(Result<T> result) {
  if (!result.ok()) raise(result.status());
  return std::move(*result);
}

ByteView view(const py::bytes& bytes) {
  const std::string_view text = bytes;
  return std::as_bytes(std::span(text.data(), text.size()));
}

py::bytes to_python(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class PythonActor : public Actor, public py::trampoline_self_life_support {
 public:
  std::int64_t step(std::int64_t now_ns) override {
    PYBIND11_OVERRIDE_PURE(std::int64_t, Actor, step, now_ns);
  }
};

template <class T>
void take(const py::dict& options, const char* name, T& into) {
  if (options.contains(name)) into = options[name].cast<T>();
}

SimSettings settings_from(const py::kwargs& options) {
  SimSettings s;
  take(options, "sites", s.sites);
  take(options, "seed", s.seed);
  take(options, "latency_ns", s.latency_ns);
  take(options, "jitter_ns", s.jitter_ns);
  take(options, "loss", s.loss);
  take(options, "up_bits_per_s", s.up_bits_per_s);
  take(options, "down_bits_per_s", s.down_bits_per_s);
  take(options, "window_bytes", s.window_bytes);
  take(options, "max_segment_bytes", s.max_segment_bytes);
  take(options, "torn", s.torn);
  take(options, "connect_timeout_ns", s.connect_timeout_ns);
  take(options, "steps_at_one_instant", s.steps_at_one_instant);
  take(options, "log_events", s.log_events);
  return s;
}

Fault fault_named(const std::string& name) {
  constexpr std::array names = {"kill", "freeze", "cut", "clog", "slow", "truncate", "corrupt"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (name == names[i]) return static_cast<Fault>(i);
  throw py::value_error("no fault is named " + name);
}

const char* run_until(SimNet& net, const std::function<bool()>& done, std::int64_t limit_ns) {
  constexpr std::array names = {"reached", "out_of_time", "stuck", "livelock"};
  return names[static_cast<std::size_t>(net.run_until(done, limit_ns))];
}

std::vector<std::string> plan_storm(SimNet& net, const std::vector<std::string>& faults, int count,
                                    std::int64_t from_ns, std::int64_t until_ns,
                                    std::int64_t longest_ns) {
  Storm storm{{}, count, from_ns, until_ns, longest_ns};
  for (const std::string& fault : faults) storm.faults.push_back(fault_named(fault));
  return net.storm(storm);
}

// `tamper` takes and returns bytes.
void set_tamper(SimNet& net, int site, const py::function& tamper) {
  net.tamper(site, [tamper](std::vector<std::byte>& segment) {
    const auto changed = tamper(to_python(segment)).cast<py::bytes>();
    const ByteView bytes = view(changed);
    segment.assign(bytes.begin(), bytes.end());
  });
}

void register_net(py::module_& m) {
  py::class_<SimNet>(m, "SimNet")
      .def(py::init([](const py::kwargs& options) {
        return std::make_unique<SimNet>(settings_from(options));
      }))
      .def_property_readonly("now_ns", &SimNet::now_ns)
      .def("connect",
           [](SimNet& net, int site, const std::string& address) {
             return value_of(net.network(site).connect(address));
           })
      .def("listen",
           [](SimNet& net, int site, const std::string& address) {
             return value_of(net.network(site).listen(address));
           })
      .def("add", &SimNet::add, py::keep_alive<1, 3>())
      .def("run_until", &run_until)
      .def("at", &SimNet::at)
      .def("set_rates", &SimNet::set_rates)
      .def("set_path", &SimNet::set_path)
      .def("set_not_dialable", &SimNet::set_not_dialable)
      .def("block", &SimNet::block)
      .def("kill", &SimNet::kill)
      .def("revive", &SimNet::revive)
      .def("freeze", &SimNet::freeze)
      .def("cut", py::overload_cast<int, int, std::int64_t>(&SimNet::cut))
      .def("cut_off", py::overload_cast<int, std::int64_t>(&SimNet::cut))
      .def("heal", &SimNet::heal)
      .def("slow", &SimNet::slow)
      .def("clog", &SimNet::clog)
      .def("truncate", &SimNet::truncate)
      .def("corrupt",
           [](SimNet& net, int site, int peer, bool header) {
             return net.corrupt(site, peer, header ? Damage::header : Damage::any);
           })
      .def("tamper", &set_tamper)
      .def("storm", &plan_storm, py::kw_only(), py::arg("faults"), py::arg("count"),
           py::arg("from_ns"), py::arg("until_ns"), py::arg("longest_ns"))
      .def("trace_hash", &SimNet::trace_hash)
      .def("log", &SimNet::log);
}

void register_streams(py::module_& m) {
  py::class_<Actor, PythonActor, py::smart_holder>(m, "SimActor")
      .def(py::init<>())
      .def("step", &Actor::step);
  py::class_<Stream, py::smart_holder>(m, "SimStream")
      .def("write",
           [](Stream& stream, const py::bytes& bytes) {
             const ByteView piece = view(bytes);
             return value_of(stream.write(std::span(&piece, 1)));
           })
      .def("read",
           [](Stream& stream, std::size_t most) {
             std::vector<std::byte> into(most);
             const ByteSpan piece(into);
             const std::size_t got = value_of(stream.read(std::span(&piece, 1)));
             return to_python(ByteView(into).first(got));
           })
      .def("can_read", &Stream::can_read)
      .def("can_write", &Stream::can_write)
      .def("connected", &Stream::connected)
      .def("shut_write", &Stream::shut_write)
      .def("peer_address", &Stream::peer_address)
      .def("retransmits", [](const Stream& stream) { return stream.path().retransmits; });
  py::class_<Listener, py::smart_holder>(m, "SimListener")
      .def("accept", &Listener::accept)
      .def("address", &Listener::address);
}

Header header_from(const py::dict& fields) {
  Header h;
  h.kind = static_cast<Kind>(fields["kind"].cast<int>());
  take(fields, "source", h.source);
  take(fields, "run", h.run);
  take(fields, "generation", h.generation);
  take(fields, "attempt", h.attempt);
  take(fields, "operation", h.operation);
  take(fields, "transfer", h.transfer);
  take(fields, "length", h.length);
  take(fields, "offset", h.offset);
  take(fields, "watermark", h.watermark);
  take(fields, "payload_check", h.payload_check);
  return h;
}

py::dict to_fields(const Header& h) {
  py::dict fields;
  fields["kind"] = static_cast<int>(h.kind);
  fields["source"] = h.source;
  fields["run"] = h.run;
  fields["generation"] = h.generation;
  fields["attempt"] = h.attempt;
  fields["operation"] = h.operation;
  fields["transfer"] = h.transfer;
  fields["length"] = h.length;
  fields["offset"] = h.offset;
  fields["watermark"] = h.watermark;
  fields["payload_check"] = h.payload_check;
  return fields;
}

py::dict parse(const py::bytes& bytes) {
  HeaderBytes header;
  if (view(bytes).size() != header.size()) throw py::value_error("a header has 64 bytes");
  std::copy_n(view(bytes).begin(), header.size(), header.begin());
  return to_fields(value_of(parse_header(header)));
}

py::object receive(Channel& channel, std::uint32_t max_payload) {
  const auto message = value_of(channel.receive(max_payload));
  if (!message) return py::none();
  return py::make_tuple(to_fields(message->header), to_python(message->payload));
}

void register_frames(py::module_& m) {
  m.def("frame_header",
        [](const py::kwargs& fields) { return to_python(to_bytes(header_from(fields))); });
  m.def("parse_frame_header", &parse);
  m.def(
      "crc32c",
      [](const py::bytes& bytes, std::uint32_t crc, int way) {
        if (way < 0) return extend_crc32c(crc, view(bytes));
        if (!has_crc32c_way(way)) throw py::value_error("this machine has no such way");
        return extend_crc32c_by(way, crc, view(bytes));
      },
      "data"_a, "crc"_a = 0, "way"_a = -1);
  py::class_<Channel>(m, "SimChannel")
      .def(py::init<std::unique_ptr<Stream>>())
      .def("send",
           [](Channel& channel, const py::dict& fields, const py::bytes& payload) {
             if (view(payload).size() > max_payload_bytes) throw py::value_error("too long");
             channel.send(header_from(fields), view(payload));
           })
      .def("flush",
           [](Channel& channel) {
             if (const Status status = channel.flush(); !status.ok()) raise(status);
           })
      .def("flushed", &Channel::flushed)
      .def("receive", &receive)
      .def("between_frames", &Channel::between_frames)
      .def("bytes_sent", &Channel::bytes_sent)
      .def("bytes_received", &Channel::bytes_received);
}

}  // namespace

void register_sim(py::module_& m) {
  register_net(m);
  register_streams(m);
  register_frames(m);
}

}  // namespace isthmus
