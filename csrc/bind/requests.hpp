// What Python asks an operation to do, checked before it is begun: buffers, lengths, ranks.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "collective/format.hpp"

namespace isthmus {

bool has_twins(std::vector<std::uint16_t> ranks);
std::string title_of(const std::vector<Segment>& segments);
pybind11::buffer_info request_buffer(const pybind11::buffer& buffer, bool writable,
                                     const char* what);
std::size_t bytes_of(const pybind11::buffer_info& info);
void check_floats(const pybind11::buffer_info& out, std::uint64_t elements);

}  // namespace isthmus
