#include "bind/requests.hpp"

#include <algorithm>

#include "bind/errors.hpp"

namespace isthmus {

namespace py = pybind11;

bool has_twins(std::vector<std::uint16_t> ranks) {
  std::ranges::sort(ranks);
  return std::ranges::adjacent_find(ranks) != ranks.end();
}

std::string title_of(const std::vector<Segment>& segments) {
  if (segments.size() == 1) return std::string(segments[0].up->name);
  return "a wire of " + std::to_string(segments.size()) + " segments";
}

py::buffer_info request_buffer(const py::buffer& buffer, bool writable, const char* what) {
  py::buffer_info info = buffer.request(writable);
  if (PyBuffer_IsContiguous(info.view(), 'C') == 0)
    raise(refused(std::string(what) + " must be C-contiguous"));
  return info;
}

std::size_t bytes_of(const py::buffer_info& info) {
  return static_cast<std::size_t>(info.size * info.itemsize);
}

void check_floats(const py::buffer_info& out, std::uint64_t elements) {
  if (out.format != py::format_descriptor<float>::format()) raise(refused("out must be float32"));
  if (static_cast<std::uint64_t>(out.size) != elements)
    raise(refused("out has " + std::to_string(out.size) + " elements; the segments have " +
                  std::to_string(elements)));
}

}  // namespace isthmus
