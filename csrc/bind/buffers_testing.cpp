// The pools of buffers by themselves. Not public.
#include <cstring>
#include <map>

#include "base/slice_buffers.hpp"
#include "bind/module.hpp"
#include "session/buffers.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

// Lent things are known by numbers.
template <class Pool, class Lent>
class Lending {
 public:
  int take(std::size_t bytes) {
    Lent lent = taken(pool_, bytes);
    std::memset(place(lent), 1, bytes);  // or it would take no memory
    lent_.emplace(next_, std::move(lent));
    return next_++;
  }
  void give_back(int number) { lent_.erase(number); }
  std::size_t idle_bytes() const { return pool_.idle_bytes(); }

 private:
  static Buffer taken(SliceBuffers& pool, std::size_t bytes) { return pool.take(bytes); }
  static Buffers::Lease taken(Buffers& pool, std::size_t bytes) { return pool.lease(bytes); }
  static std::byte* place(Buffer& buffer) { return buffer.get(); }
  static std::byte* place(Buffers::Lease& lease) { return lease.bytes().data(); }

  Pool pool_;
  std::map<int, Lent> lent_;
  int next_ = 0;
};

template <class Pool, class Lent>
void define(py::module_& m, const char* name) {
  using Lends = Lending<Pool, Lent>;
  py::class_<Lends>(m, name)
      .def(py::init())
      .def("take", &Lends::take, "bytes"_a)
      .def("give_back", &Lends::give_back, "number"_a)
      .def_property_readonly("idle_bytes", &Lends::idle_bytes)
      .def_property_readonly_static("long_time", [](const py::object&) { return Pool::long_time; });
}

}  // namespace

void register_buffers_testing(py::module_& m) {
  define<SliceBuffers, Buffer>(m, "SliceBuffers");
  define<Buffers, Buffers::Lease>(m, "Buffers");
}

}  // namespace isthmus
