// Membership by hand, for tests. Not public.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "bind/module.hpp"
#include "mesh/membership.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

using Bits = std::uint64_t;
constexpr std::array verdicts = {"waits", "installed", "given_up", "too_few"};

py::tuple to_python(const Census& census) {
  return py::make_tuple(census.roster.bits(), census.out.bits(), census.lost.bits(),
                        census.lawful.bits());
}

}  // namespace

void register_membership_testing(py::module_& m) {
  py::class_<Membership>(m, "Membership")
      .def(py::init([](int rank, int world, int favourite, int min_sites, std::int64_t patience,
                       bool waits) {
             return Membership(rank, world,
                               {.quorum = {.favourite = favourite},
                                .min_sites = min_sites,
                                .patience_ns = patience,
                                .waits = waits});
           }),
           "rank"_a, "world"_a, py::kw_only(), "favourite"_a = -1, "min_sites"_a = 1,
           "patience"_a = 1, "waits"_a = false)
      .def("lose", &Membership::lose, "peer"_a)
      .def(
          "hear",
          [](Membership& self, int peer, const std::tuple<Bits, Bits, Bits, Bits>& census) {
            const auto [roster, out, lost, lawful] = census;
            return self.hear(peer, {SiteSet(roster), SiteSet(out), SiteSet(lost), SiteSet(lawful)});
          },
          "peer"_a, "census"_a)
      .def("decide", &Membership::decide, "now"_a)
      .def("settle",
           [](Membership& self) { return verdicts.at(static_cast<std::size_t>(self.settle())); })
      .def_property_readonly("deadline", &Membership::deadline_ns)
      .def_property_readonly("census",
                             [](const Membership& self) { return to_python(self.census()); })
      .def_property_readonly("roster", [](const Membership& self) { return self.roster().ranks(); })
      .def_property_readonly("stuck", &Membership::stuck)
      .def_property_readonly("generation", &Membership::generation);
}

}  // namespace isthmus
