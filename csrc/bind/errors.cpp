#include "bind/errors.hpp"

#include <pybind11/pybind11.h>

namespace isthmus {

namespace py = pybind11;

std::string_view name_of(Code code) {
  switch (code) {
    case Code::ok:
      return "ok";
    case Code::timeout:
      return "timeout";
    case Code::peer_lost:
      return "peer_lost";
    case Code::refused:
      return "refused";
    case Code::wire_error:
      return "wire_error";
    case Code::cancelled:
      return "cancelled";
    case Code::internal_error:
      return "internal_error";
  }
  return "internal_error";
}

Code code_named(std::string_view name) {
  for (const Code code :
       {Code::timeout, Code::peer_lost, Code::refused, Code::wire_error, Code::cancelled})
    if (name_of(code) == name) return code;
  return Code::internal_error;
}

void raise(const Status& status, const std::string& peer) {
  const py::object site = peer.empty() ? py::object(py::none()) : py::object(py::str(peer));
  const py::object error =
      py::module_::import("isthmus.errors").attr("make")(name_of(status.code), status.text, site);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  throw py::error_already_set();
}

}  // namespace isthmus
