#include "simulation/strike.hpp"

#include "base/check.hpp"

namespace isthmus {

bool is_of_a_stream(Trouble kind) {
  return kind == Trouble::control || is_of_data(kind);
}

bool is_of_data(Trouble kind) {
  return kind == Trouble::reset || kind == Trouble::silence || kind == Trouble::payload;
}

void strike(SimNet& net, const TroublePlan& what, std::int64_t patience_ns) {
  switch (what.kind) {
    case Trouble::kill:
      return net.kill(what.site);
    case Trouble::freeze:
      return net.freeze(what.site, what.for_ns);
    case Trouble::cut:
      return net.cut(what.site, what.peer, what.for_ns);
    case Trouble::isolate:
      return net.cut(what.site, what.for_ns);
    case Trouble::slow:
      return net.slow(what.site, what.factor, what.for_ns);
    case Trouble::clog:
      return (void)net.clog(what.site, what.peer, what.for_ns);
    case Trouble::truncate:
      return (void)net.truncate(what.site, what.peer);
    case Trouble::corrupt:
      return (void)net.corrupt(what.site, what.peer, what.damage);
    case Trouble::reset:
      return (void)net.reset_data(what.site, what.peer);
    case Trouble::silence:
      return (void)net.silence_data(what.site, what.peer, patience_ns);
    case Trouble::payload:
      return (void)net.corrupt(what.site, what.peer, Damage::data);
    case Trouble::control:
      return (void)net.reset_control(what.site, what.peer);
    case Trouble::lie:
    case Trouble::leave:
    case Trouble::absent:
    case Trouble::coordinator_killed:
      ISTHMUS_CHECK(false);
  }
}

}  // namespace isthmus
