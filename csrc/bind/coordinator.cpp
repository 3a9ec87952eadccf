// A coordinator for Python, with a thread of its own.
#include "mesh/coordinator.hpp"

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <memory>
#include <random>
#include <thread>

#include "bind/errors.hpp"
#include "bind/module.hpp"
#include "net/tcp.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

class BoundCoordinator {
 public:
  explicit BoundCoordinator(const std::string& listen) : network_(reactor_, {}), owner_(getpid()) {
    auto listener = network_.listen(listen);
    if (!listener.ok()) raise(listener.status());
    std::random_device device;
    coordinator_ = std::make_unique<Coordinator>(std::move(*listener),
                                                 std::uint64_t{device()} << 32 | device());
    address_ = coordinator_->address();
    reactor_.add(coordinator_.get());
    thread_ = std::thread([this] { reactor_.run(); });
  }
  ~BoundCoordinator() { close(); }
  BoundCoordinator(const BoundCoordinator&) = delete;
  BoundCoordinator& operator=(const BoundCoordinator&) = delete;

  std::string address() const { return address_; }
  void close() {
    if (!thread_.joinable()) return;
    if (getpid() != owner_) return thread_.detach();
    reactor_.post([this] {
      reactor_.stop();
      coordinator_.reset();  // its port is free from here on
    });
    const py::gil_scoped_release release;
    thread_.join();
  }

 private:
  Reactor reactor_;
  TcpNetwork network_;
  pid_t owner_;
  std::unique_ptr<Coordinator> coordinator_;
  std::string address_;
  std::thread thread_;
};

}  // namespace

void register_coordinator(py::module_& m) {
  py::class_<BoundCoordinator>(m, "Coordinator")
      .def(py::init<const std::string&>(), py::kw_only(), "listen"_a)
      .def_property_readonly("address", &BoundCoordinator::address)
      .def("close", &BoundCoordinator::close);
}

}  // namespace isthmus
