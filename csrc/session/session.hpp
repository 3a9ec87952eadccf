// Session: an Engine with a thread, sockets and a clock. Calls may come from any thread.
//
// After fork() the child has the memory but not the thread: every call says so, and nothing of the
// parent is touched.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <thread>

#include "net/tcp.hpp"
#include "session/engine.hpp"
#include "session/keeper.hpp"
#include "session/worker_pool.hpp"

namespace isthmus {

struct SessionOptions {
  std::string rendezvous;  // the coordinator's "host:port"
  std::string run;
  std::string site;
  int sites = 0;
  Call call{};         // that this session follows; none: it is the run's first, or new to it
  bool serve = false;  // run the coordinator in this session, at `rendezvous`
  std::shared_ptr<Keeper> keeper{};  // that ran in the session before: it goes on in this one
  std::string listen;                // "host:port", port 0: any; empty: do not listen, only dial
  std::string
      advertise;    // "host:port" for the peers; empty: found out; port 0: the one listened at
  int streams = 0;  // data streams a link; 0: by the number of sites
  std::int64_t timeout_ns = 60 * second_ns;
  std::int64_t heartbeat_timeout_ns = 5 * second_ns;
  bool relays = true;              // as Mesh
  OnLoss on_loss = OnLoss::raise;  // this and the next two as of EngineOptions
  int min_sites = 1;
  std::string favourite{};
  int codec_threads = 0;  // that decode, add and encode beside the session's own
  TcpOptions tcp;
};

class Session {
 public:
  static constexpr std::size_t max_in_flight = 1024;

  // Starts to join. `joined()` tells when and how that ended.
  static Result<std::unique_ptr<Session>> open(SessionOptions options);
  ~Session();  // closes

  const std::shared_ptr<Work>& joined() const { return joined_; }
  // REQUIRES: joined well.
  const Roster& roster() const { return roster_; }
  int rank() const { return rank_; }
  const std::vector<Relayed>& relayed() const { return relayed_; }

  Result<std::shared_ptr<Work>> submit(Request request);
  // Returns the works that asked for it by `announce_done` as they end; null once closed.
  std::shared_ptr<Work> next_completion();
  void announce_done(const std::shared_ptr<Work>& work);

  // From the next operation on: what all sites must say between the same two operations, and alike.
  // Null: forget. REQUIRES: sound(*paths), and its world is the roster's.
  void set_paths(std::shared_ptr<const Paths> paths);
  // How an operation that comes now runs; `schedule` as asked, none: as is best.
  Choice choice_for(std::optional<Algorithm> schedule, const Format& format) const;
  // Data leaves no faster from now on. REQUIRES: peers' paces are none or one for each rank.
  void set_paces(Paces paces);

  // The data streams of the link to a peer, from soon on; both ends should be told the same.
  void set_streams(int peer, int count);

  // As of Engine: the coordinator hears from now on what this site is doing. REQUIRES, of these:
  // joined well.
  void attend(Standing standing, std::uint32_t failed);
  // A call to an epoch above `after`, or none once closed or after `timeout_ns`.
  std::optional<Call> wait_for_call(std::uint32_t after, std::int64_t timeout_ns);
  std::uint32_t epoch() const { return epoch_; }
  bool whole() const { return whole_.load(); }  // nobody is lost, and nothing has failed
  // Asks the engine: who has seen an operation end with too few is told so.
  bool stuck();
  // Who takes part, this site too: as new as any work that has ended. None once closed.
  SiteSet present();
  // The last sites that were enough to go on: as new as any work that has ended. None once closed.
  SiteSet lawful();
  // Of a site that was called but could not follow: others may be called with it again.
  bool was_called() const { return was_called_.load(); }
  // Returns once the port is free for another session of this process.
  void stop_listening();
  const std::shared_ptr<Keeper>& keeper() const { return keeper_; }

  EngineStats stats();
  // Closed when the session is.
  const std::shared_ptr<Events>& events() const { return events_; }
  // REQUIRES: joined well. See Engine::abort.
  void abort(Status why);
  void close();
  Status usable() const;

 private:
  Session(SessionOptions options);

  Status start();
  Result<std::string> advertised(const std::string& listening_at) const;
  void end_joining(const Outcome& outcome);
  void run();
  void complete(std::shared_ptr<Work> work);
  void observe();
  template <class Question>
  auto ask(Question question) -> std::optional<decltype(question())>;

  SessionOptions options_;
  const pid_t owner_;
  SteadyClock clock_;
  // In a forked child these are left as they are: closing them would disturb the parent.
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<TcpNetwork> network_;
  std::shared_ptr<Keeper> keeper_;       // null: the coordinator is elsewhere
  std::unique_ptr<WorkerPool> workers_;  // null: none
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Actor> observer_;
  std::thread thread_;
  std::mutex closing_;
  std::shared_ptr<Work> joined_;
  Roster roster_;                  // written before joined_ is finished
  Reach reach_ = Reach::anywhere;  // the same
  int rank_ = -1;
  std::vector<Relayed> relayed_;
  std::uint32_t epoch_ = 0;
  std::atomic<bool> whole_{true}, stuck_{false}, was_called_{false};
  std::shared_ptr<Events> events_ = std::make_shared<Events>();

  mutable std::mutex mutex_;
  std::condition_variable completed_;
  std::deque<std::shared_ptr<Work>> completions_;
  std::deque<std::shared_ptr<Work>> in_flight_;
  std::uint64_t next_operation_ = Engine::first_operation;
  std::shared_ptr<const Paths> paths_;
  bool closed_ = false;
  EngineStats last_stats_;  // once closed; does not change again
  std::condition_variable called_;
  std::optional<Call> call_;
};

}  // namespace isthmus
