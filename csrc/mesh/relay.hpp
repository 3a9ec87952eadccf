// Relay: the third site's part between two that cannot connect to each other. It splices their
// connections and never looks at what they carry.
//
// A site asks it for another one by rank, never by address: it dials nobody but the members of its
// own roster. The one that is asked for may be dialled, or have offered a connection itself. What
// is kept is bounded in number, bytes and time.
#pragma once

#include <vector>

#include "mesh/roster.hpp"
#include "net/channel.hpp"
#include "net/splice.hpp"

namespace isthmus {

class Relay {
 public:
  static constexpr std::size_t max_waiting = 512;  // of requests, and of offers
  static constexpr std::size_t max_splices = 512;

  explicit Relay(Network& network) : network_(network) {}

  // `stamp`: run, generation and source of what it says. REQUIRES: `roster` outlives it.
  void start(const Roster& roster, Header stamp);

  // A site has connected, and wishes for `wanted` or offers itself to it. REQUIRES: both are
  // members of the roster, neither is this site, and they are two.
  void ask(Channel from, int source, int wanted, std::int64_t now_ns);
  void offer(Channel from, int source, int wanted, std::int64_t now_ns);

  void step(std::int64_t now_ns);
  // When step() wants to be called again if nothing happens.
  std::int64_t deadline_ns() const { return deadline_ns_; }

  bool carries() const { return !splices_.empty(); }
  std::uint64_t bytes_passed() const { return bytes_passed_; }

 private:
  struct Request {
    Channel from;
    int source;
    int wanted;
    std::int64_t deadline_ns;
    std::unique_ptr<Stream> dialled{};
    std::string error{};  // why dialling failed
    bool over = false;
  };
  struct Offer {
    Channel from;
    int source;
    int wanted;
    std::int64_t deadline_ns;
  };

  void serve(Request& request, std::int64_t now_ns);
  std::unique_ptr<Stream> way_to(Request& request);
  void join(Request& request, std::unique_ptr<Stream> to);
  void refuse(Request& request, const std::string& why);
  void pass(std::int64_t now_ns);

  Network& network_;
  const Roster* roster_ = nullptr;
  Header stamp_;
  std::vector<Request> requests_;
  std::vector<Offer> offers_;
  std::vector<Splice> splices_;
  std::uint64_t bytes_passed_ = 0;
  std::int64_t deadline_ns_ = never_ns;
};

}  // namespace isthmus
