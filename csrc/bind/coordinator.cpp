// A coordinator for Python.
#include <pybind11/pybind11.h>

#include <memory>

#include "bind/errors.hpp"
#include "bind/module.hpp"
#include "session/keeper.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

std::shared_ptr<Keeper> open_keeper(const std::string& listen) {
  auto keeper = Keeper::open(listen);
  if (!keeper.ok()) raise(keeper.status());
  return *keeper;
}

void close(Keeper& keeper) {
  const py::gil_scoped_release release;
  keeper.close();
}

}  // namespace

void register_coordinator(py::module_& m) {
  py::class_<Keeper, std::shared_ptr<Keeper>>(m, "Coordinator")
      .def(py::init(&open_keeper), py::kw_only(), "listen"_a)
      .def_property_readonly("address", &Keeper::address)
      .def("close", &close);
}

}  // namespace isthmus
