// stats: an engine's numbers as Python reads them, in the units that people use.
#pragma once

#include <pybind11/pybind11.h>

#include "mesh/messages.hpp"
#include "session/engine.hpp"

namespace isthmus {

pybind11::dict to_dict(const EngineStats& stats, const Roster& roster);

}  // namespace isthmus
