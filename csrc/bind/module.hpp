// One register_<noun> per binding file.
#pragma once

#include <pybind11/pybind11.h>

namespace isthmus {

void register_codec(pybind11::module_& m);
void register_dp(pybind11::module_& m);
void register_collective(pybind11::module_& m);
void register_paths(pybind11::module_& m);
void register_coordinator(pybind11::module_& m);
void register_boundary(pybind11::module_& m);
void register_events(pybind11::module_& m);
void register_session(pybind11::module_& m);
void register_buffers_testing(pybind11::module_& m);
void register_mesh_testing(pybind11::module_& m);
void register_membership_testing(pybind11::module_& m);
void register_epochs_testing(pybind11::module_& m);
void register_runs_testing(pybind11::module_& m);
void register_names_testing(pybind11::module_& m);
void register_sim(pybind11::module_& m);
void register_wan(pybind11::module_& m);
void register_world_testing(pybind11::module_& m);

}  // namespace isthmus
