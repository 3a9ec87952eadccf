// Events: what the operator of a site should know of its session, as facts; whoever reads them
// makes sentences.
//
// The reactor's thread puts them in and never waits for a reader; one that falls behind misses the
// oldest.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>

#include "base/status.hpp"

namespace isthmus {

struct Event {
  enum class Kind {
    lost,         // peer takes part no more; `why` is empty where only others have noticed
    ended,        // the session, for the reason `why`
    streams,      // of the link to peer: how many there were, and are
    coordinator,  // answers (`now` is 1) or is lost (0); `why` is a sentence's beginning
    stream_lost,  // one of them broke, for the reason `why`; how many are left
  };
  Kind kind = Kind::ended;
  int peer = -1;  // a rank; -1: nobody's
  Code code = Code::ok;
  std::string why{};
  int before = 0;
  int now = 0;  // of sites or streams, those that are left
  std::uint32_t generation = 0;
};

class Events {
 public:
  static constexpr std::size_t most = 256;

  void put(Event event);
  // Waits for the next one. None: closed, and all have been read.
  std::optional<Event> next();
  void close();

 private:
  std::mutex mutex_;
  std::condition_variable news_;
  std::deque<Event> waiting_;
  bool closed_ = false;
};

}  // namespace isthmus
