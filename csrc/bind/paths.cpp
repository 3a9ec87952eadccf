// Paths for Python: what the network carries, and what choose() makes of it.
#include "collective/paths.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <memory>

#include "bind/errors.hpp"
#include "bind/module.hpp"
#include "bind/segments.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

using Matrix = std::vector<std::vector<double>>;

std::vector<double> flat(const Matrix& matrix) {
  std::vector<double> out;
  for (const auto& row : matrix) out.insert(out.end(), row.begin(), row.end());
  return out;
}

// Two ranks, and that of the site by way of which they exchange data.
using Relays = std::vector<std::array<int, 3>>;

std::vector<int> by_pair(const Relays& relayed, int world) {
  std::vector<int> relays(static_cast<std::size_t>(world * world), Paths::nobody);
  for (const auto& [a, b, by] : relayed) {
    if (std::min({a, b, by}) < 0 || std::max({a, b, by}) >= world || a == b || by == a || by == b)
      raise(refused("a pair that goes by way of a third site is three ranks, no two the same"));
    relays[static_cast<std::size_t>(a * world + b)] = by;
    relays[static_cast<std::size_t>(b * world + a)] = by;
  }
  return relays;
}

std::shared_ptr<Paths> make_paths(std::vector<double> uplink, std::vector<double> downlink,
                                  const Matrix& pair, const Matrix& delay, const Relays& relayed) {
  const int world = static_cast<int>(uplink.size());
  auto paths = std::make_shared<Paths>(Paths{.world = world,
                                             .uplink = std::move(uplink),
                                             .downlink = std::move(downlink),
                                             .pair = flat(pair),
                                             .delay = flat(delay),
                                             .relays = by_pair(relayed, world)});
  if (!sound(*paths))
    raise(
        refused("paths need a rate above zero and a delay, in finite numbers, of every site and "
                "pair"));
  return paths;
}

py::dict choose_over(const Paths& paths, const SegmentNames& names, const std::string& schedule) {
  const Format format(segments_named(names));
  const auto algorithm = algorithm_named(schedule, format);
  const Choice choice = algorithm ? choose_for(*algorithm, paths.world, format, &paths)
                                  : choose(paths.world, format, &paths);
  return py::dict("schedule"_a = name_of(choice.algorithm), "shares"_a = choice.shares,
                  "order"_a = choice.order, "slice_elements"_a = choice.slice_elements,
                  "seconds"_a = choice.seconds);
}

}  // namespace

void register_paths(py::module_& m) {
  py::class_<Paths, std::shared_ptr<Paths>>(m, "Paths")
      .def(py::init(&make_paths), py::kw_only(), "uplink"_a, "downlink"_a, "pair"_a, "delay"_a,
           "relayed"_a = Relays{})
      .def("choose", &choose_over, "segments"_a, py::kw_only(), "schedule"_a = "auto");
}

}  // namespace isthmus
