// The native module `_core`: the only door between Python and C++.
#include "bind/module.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "isthmus, native core";
  isthmus::register_buffers_testing(m);
  isthmus::register_mesh_testing(m);
  isthmus::register_membership_testing(m);
  isthmus::register_epochs_testing(m);
  isthmus::register_names_testing(m);
  isthmus::register_sim(m);
  isthmus::register_wan(m);
  isthmus::register_codec(m);
  isthmus::register_dp(m);
  isthmus::register_collective(m);
  isthmus::register_paths(m);
  isthmus::register_coordinator(m);
  isthmus::register_boundary(m);
  isthmus::register_events(m);
  isthmus::register_session(m);
  isthmus::register_world_testing(m);
  isthmus::register_runs_testing(m);
  m.attr("__version__") = ISTHMUS_VERSION;
}
