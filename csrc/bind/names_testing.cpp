// Two sites of which one dials its coordinator by a name that is found slowly. Not public.
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "bind/module.hpp"
#include "session/session.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

std::int64_t to_ns(double seconds) {
  return static_cast<std::int64_t>(seconds * static_cast<double>(second_ns));
}

void sleep(double seconds) {
  std::this_thread::sleep_for(std::chrono::nanoseconds(to_ns(seconds)));
}

// Asked for the first time it answers at once, later after so long.
class SlowNames {
 public:
  SlowNames(std::string address, double seconds)
      : state_(std::make_shared<State>(std::move(address), seconds)) {}
  Result<SocketAddress> operator()(const std::string&) const {
    const auto state = state_;
    if (state->asked++ > 0) sleep(state->seconds);
    return resolve(state->address, false);
  }
  int asked() const { return state_->asked; }

 private:
  struct State {
    State(std::string where, double how_long) : address(std::move(where)), seconds(how_long) {}
    const std::string address;
    const double seconds;
    std::atomic<int> asked = 0;
  };
  std::shared_ptr<State> state_;
};

std::unique_ptr<Session> opened(SessionOptions options) {
  auto session = Session::open(std::move(options));
  if (!session.ok()) throw std::runtime_error(session.status().text);
  return std::move(*session);
}

// Whether the other one still has the site, after the coordinator is gone and while the site looks
// for it.
bool heard_while_looking_up(double seconds, double heartbeat) {
  auto keeper = Keeper::open("127.0.0.1:0");
  if (!keeper.ok()) throw std::runtime_error(keeper.status().text);
  const std::string address = (*keeper)->address();
  SessionOptions options{.rendezvous = address,
                         .run = "run",
                         .site = "amber",
                         .sites = 2,
                         .listen = "127.0.0.1:0",
                         .advertise = "",
                         .heartbeat_timeout_ns = to_ns(heartbeat),
                         .on_loss = OnLoss::carry_on,
                         .tcp = {}};
  const auto other = opened(options);
  const SlowNames names(address, seconds);
  options.site = "birch";
  options.rendezvous = "coordinator.test" + address.substr(address.rfind(':'));
  options.tcp.resolver = names;
  const auto site = opened(options);
  for (const auto& session : {other.get(), site.get()}) {
    if (!session->joined()->wait(to_ns(20)) || !session->joined()->outcome().status.ok())
      return false;
  }
  site->attend(Standing::training, 0);
  (*keeper)->close();
  while (names.asked() < 2) sleep(0.01);
  sleep(3 * heartbeat);
  return other->whole() && site->whole();
}

}  // namespace

void register_names_testing(py::module_& m) {
  m.def("heard_while_looking_up", &heard_while_looking_up, py::kw_only(), "seconds"_a,
        "heartbeat"_a, py::call_guard<py::gil_scoped_release>());
}

}  // namespace isthmus
