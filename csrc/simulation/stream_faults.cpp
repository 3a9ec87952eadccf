// What goes wrong with single streams of a pair.
#include "simulation/world.hpp"

namespace isthmus {

// Where the pair has no such stream at the moment, nothing happens.
void strike_stream(SimNet& net, const TroublePlan& t, const WorldReport& so_far,
                   std::int64_t patience_ns) {
  const auto joined = [&](int site) {
    return so_far.sites[static_cast<std::size_t>(site)].joined.done;
  };
  if (t.kind == Trouble::clog) (void)net.clog(t.site, t.peer, t.for_ns);
  if (t.kind == Trouble::truncate) (void)net.truncate(t.site, t.peer);
  if (t.kind == Trouble::corrupt)
    (void)net.corrupt(t.site, t.peer,
                      t.at_ns / millisecond_ns % 2 == 0 ? Damage::header : Damage::any);
  // While sites join, a stream that breaks ends that.
  if (!joined(t.site) || !joined(t.peer)) return;
  if (t.kind == Trouble::reset) (void)net.reset_data(t.site, t.peer);
  if (t.kind == Trouble::silence) (void)net.silence_data(t.site, t.peer, patience_ns);
}

}  // namespace isthmus
