// Rendezvous: a site's conversation with the coordinator, from "I am here" to the roster, and until
// it leaves.
//
// A site that joins a run which goes on waits, is called, and follows; one that takes part says so
// as long as it does, to every coordinator that listens at the address, and hears calls. Moved on
// by step(); blocks never. Messages and their limits: mesh/wire.md.
#pragma once

#include <memory>
#include <optional>

#include "mesh/presence.hpp"
#include "mesh/roster.hpp"
#include "net/channel.hpp"

namespace isthmus {

struct JoinRequest {
  std::string run;  // id of the run, chosen by the user, the same at every site
  int sites = 0;    // how many are to come
  Member self;
  std::uint64_t codec_table = 0;
  // Random, made once by each joining process: lets it take its seat again after its connection
  // broke, where another process of the same name is refused. 0: none.
  std::uint64_t ticket = 0;
  Call call{};  // that it follows; none: it is new to the run
};

class Rendezvous {
 public:
  // `deadline_ns`: by then the roster must be here. The coordinator may start later than the sites:
  // until the deadline a refused connection is tried again.
  Rendezvous(Network& network, std::string coordinator, JoinRequest request,
             std::int64_t deadline_ns);
  ~Rendezvous();

  // Works on, and returns when to come back. Afterwards look at status() and roster().
  std::int64_t step(std::int64_t now_ns);

  // Not ok: joining failed (Refused with the coordinator's reason, or Timeout with the sites that
  // are there and those that miss). After the roster came, a lost coordinator is no failure: see
  // connected().
  const Status& status() const;
  const Roster* roster() const;  // nullptr: not yet
  bool connected() const;
  // PeerLost: of the roster somebody is gone, or the coordinator that made it; who still joins by
  // it may come again. Not said to who takes part.
  const Status& broken() const;
  const std::string& last_error() const;  // why the last connection failed or ended
  // The epoch of the roster: of the call that was followed, be it the request's or one that was
  // waited for.
  std::uint32_t epoch() const;

  // All of the roster are connected with this site: a coordinator that is lost from now on is
  // missed only by who takes part. Before, it is dialled again, and one that has started anew and
  // knows nothing of the roster makes it broken: who made the roster may have been one of it.
  void meet();
  // From now on this is what the site says of itself, on this connection and on later ones; a lost
  // one is made again for it. REQUIRES: roster() is there, and the presence is in that epoch.
  // `called` is filled in here.
  void attend(Presence presence);
  // The last call to another epoch that came since attend(); nullptr: none.
  const Call* call() const;

  // Tells the coordinator, and through it all other sites, that this site cannot go on with the
  // roster
  // ("site x cannot reach site y at …"); their status() becomes Refused with this text.
  void report(const Status& why);
  void leave();
  bool flushed() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isthmus
