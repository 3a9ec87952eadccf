// The emulator's packet loop and, for its tests, the pure parts that it is made of.
#include <pybind11/stl.h>

#include "bind/module.hpp"
#include "wan/loop.hpp"

namespace py = pybind11;

namespace isthmus {
namespace {

std::vector<wan::Count> run_wan_loop(std::vector<wan::Site> sites, std::vector<wan::Line> lines,
                                     std::vector<wan::Cut> cuts, std::uint64_t seed,
                                     const std::vector<int>& stop, wan::Orders* orders) {
  wan::Settings settings{std::move(sites), std::move(lines), std::move(cuts), seed};
  if (const Status status = wan::check(settings); !status.ok()) throw py::value_error(status.text);
  const SteadyClock clock;
  wan::Loop loop(std::move(settings), clock, orders);
  Status status;
  {
    const py::gil_scoped_release released;
    status = loop.run(stop);
  }
  if (!status.ok()) throw std::runtime_error(status.text);
  return loop.counts();
}

py::bytes wan_damaged(const py::bytes& packet) {
  const std::string_view text = packet;
  const ByteView bytes = std::as_bytes(std::span(text));
  const auto shape = wan::read_shape(bytes);
  if (!shape || shape->segments() < 2) throw py::value_error("no packet of several segments");
  const auto out = wan::damaged_first(bytes, *shape);
  return {reinterpret_cast<const char*>(out.data()), out.size()};
}

std::vector<std::optional<std::int64_t>> wan_departures(double rate_bps, std::int64_t depth_ns,
                                                        const std::vector<std::int64_t>& times_ns,
                                                        const std::vector<std::size_t>& sizes) {
  if (times_ns.size() != sizes.size()) throw py::value_error("as many sizes as times, please");
  wan::Queue queue(rate_bps, depth_ns);
  std::vector<std::optional<std::int64_t>> departures;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    departures.push_back(queue.pass(times_ns[i], sizes[i]));
  return departures;
}

std::vector<std::size_t> wan_lost(double loss, std::uint64_t seed, std::size_t packets,
                                  std::size_t segments) {
  wan::Loss source(loss, seed);
  std::vector<std::size_t> lost;
  for (std::size_t packet = 0; packet < packets; ++packet)
    for (const std::size_t at : source.strike(segments)) lost.push_back(packet * segments + at);
  return lost;
}

py::object wan_shape(const py::bytes& packet) {
  const auto text = packet.cast<std::string_view>();
  const auto shape = wan::read_shape(std::as_bytes(std::span(text)));
  if (!shape) return py::none();
  py::dict out;
  out["target"] = shape->target;
  out["segments"] = shape->segments();
  out["wire_bytes"] = shape->wire_bytes(shape->all());
  return out;
}

std::vector<py::bytes> wan_pieces(const py::bytes& packet, std::vector<std::size_t> lost) {
  const auto text = packet.cast<std::string_view>();
  const ByteView bytes = std::as_bytes(std::span(text));
  const auto shape = wan::read_shape(bytes);
  if (!shape) throw py::value_error("no IPv4 packet");
  for (std::size_t i = 0; i < lost.size(); ++i)
    if (lost[i] >= shape->segments() || (i > 0 && lost[i] <= lost[i - 1]))
      throw py::value_error("lost segments must ascend and be the packet's");
  std::vector<py::bytes> pieces;
  for (const wan::Run& run : wan::without(shape->segments(), lost)) {
    const std::vector<std::byte> piece = wan::cut_out(bytes, *shape, run);
    pieces.emplace_back(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  return pieces;
}

void register_settings(py::module_& m) {
  py::class_<wan::Site>(m, "WanSite")
      .def(py::init([](int device, std::uint32_t address, double up_bps, double down_bps,
                       std::int64_t queue_ns) {
             return wan::Site{device, address, up_bps, down_bps, queue_ns};
           }),
           py::kw_only(), py::arg("device"), py::arg("address"), py::arg("up_bps"),
           py::arg("down_bps"), py::arg("queue_ns"));
  py::class_<wan::Line>(m, "WanLine")
      .def(py::init([](int from, int to, double rate_bps, std::int64_t delay_ns, double loss,
                       std::int64_t queue_ns) {
             return wan::Line{from, to, rate_bps, delay_ns, loss, queue_ns};
           }),
           py::kw_only(), py::arg("origin"), py::arg("target"), py::arg("rate_bps"),
           py::arg("delay_ns"), py::arg("loss"), py::arg("queue_ns"));
  py::class_<wan::Cut>(m, "WanCut")
      .def(py::init([](int site, std::optional<int> other, std::int64_t after_ns,
                       std::optional<std::int64_t> length_ns) {
             return wan::Cut{site, other.value_or(wan::whole_site), after_ns,
                             length_ns.value_or(never_ns)};
           }),
           py::kw_only(), py::arg("site"), py::arg("other"), py::arg("after_ns"),
           py::arg("length_ns"));
}

// From any thread, to a loop that runs. One function for each Order::Kind.
void register_orders(py::module_& m) {
  using wan::Order;
  const auto ns = [](std::optional<std::int64_t> for_ns) { return for_ns.value_or(never_ns); };
  const auto peer = [](std::optional<int> other) { return other.value_or(wan::whole_site); };
  py::class_<wan::Orders>(m, "WanOrders")
      .def(py::init<>())
      .def(
          "cut",
          [=](wan::Orders& orders, int site, std::optional<int> other,
              std::optional<std::int64_t> for_ns) {
            orders.give({Order::Kind::cut, site, peer(other), ns(for_ns), 1});
          },
          py::arg("site"), py::kw_only(), py::arg("other"), py::arg("for_ns"))
      .def(
          "slow",
          [=](wan::Orders& orders, int site, double factor, std::optional<std::int64_t> for_ns) {
            orders.give({Order::Kind::slow, site, wan::whole_site, ns(for_ns), factor});
          },
          py::arg("site"), py::kw_only(), py::arg("factor"), py::arg("for_ns"))
      .def(
          "corrupt",
          [=](wan::Orders& orders, int site, std::optional<int> other) {
            orders.give({Order::Kind::corrupt, site, peer(other), never_ns, 1});
          },
          py::arg("site"), py::kw_only(), py::arg("other"));
}

void register_counts(py::module_& m) {
  py::class_<wan::Tally>(m, "WanTally")
      .def_readonly("segments", &wan::Tally::segments)
      .def_readonly("bytes", &wan::Tally::bytes);
  py::class_<wan::Count>(m, "WanCount")
      .def_readonly("origin", &wan::Count::from)
      .def_readonly("target", &wan::Count::to)
      .def_readonly("sent", &wan::Count::sent)
      .def_readonly("delivered", &wan::Count::delivered)
      .def_readonly("lost", &wan::Count::lost)
      .def_readonly("dropped", &wan::Count::dropped)
      .def_readonly("cut", &wan::Count::cut)
      .def_readonly("held", &wan::Count::held);
}

}  // namespace

void register_wan(py::module_& m) {
  register_settings(m);
  register_orders(m);
  register_counts(m);
  m.def("run_wan_loop", &run_wan_loop, py::arg("sites"), py::arg("lines"), py::arg("cuts"),
        py::kw_only(), py::arg("seed"), py::arg("stop"), py::arg("orders") = py::none());
  m.def("wan_damaged", &wan_damaged, py::arg("packet"));
  m.def("wan_departures", &wan_departures, py::kw_only(), py::arg("rate_bps"), py::arg("depth_ns"),
        py::arg("times_ns"), py::arg("sizes"));
  m.def("wan_lost", &wan_lost, py::kw_only(), py::arg("loss"), py::arg("seed"), py::arg("packets"),
        py::arg("segments"));
  m.def("wan_shape", &wan_shape, py::arg("packet"));
  m.def("wan_pieces", &wan_pieces, py::arg("packet"), py::kw_only(), py::arg("lost"));
}

}  // namespace isthmus
