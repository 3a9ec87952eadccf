#include "session/session.hpp"

#include <unistd.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <random>

#include "net/address.hpp"

namespace isthmus {
namespace {

std::uint64_t random_seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

// Looks at the engine after each of its steps.
class Observer final : public Actor {
 public:
  explicit Observer(std::function<void()> look) : look_(std::move(look)) {}
  std::int64_t step(std::int64_t) override {
    look_();
    return never_ns;
  }

 private:
  const std::function<void()> look_;
};

// By what all sites know, so that all choose alike. Who cannot be dialled reaches those who can.
Reach reach_of(const Roster& roster) {
  const auto is_near = [](const Member& member) {
    const auto address = numeric(member.address);
    return member.address.empty() || (address && is_loopback(*address));
  };
  return std::ranges::all_of(roster.members, is_near) ? Reach::one_machine : Reach::anywhere;
}

}  // namespace

Session::Session(SessionOptions options)
    : options_(std::move(options)),
      owner_(getpid()),
      keeper_(options_.keeper),
      joined_(std::make_shared<Work>(0)) {}

Result<std::unique_ptr<Session>> Session::open(SessionOptions options) {
  std::unique_ptr<Session> session(new Session(std::move(options)));
  if (auto s = session->start(); !s.ok()) return s;
  return session;
}

Status Session::start() {
  reactor_ = std::make_unique<Reactor>();
  TcpOptions tcp = options_.tcp;
  tcp.user_timeout_ns = options_.heartbeat_timeout_ns;
  network_ = std::make_unique<TcpNetwork>(*reactor_, std::move(tcp));
  std::string coordinator = options_.rendezvous;
  if (options_.serve && keeper_ == nullptr) {
    auto keeper = Keeper::open(coordinator);
    if (!keeper.ok()) return keeper.status();
    keeper_ = std::move(*keeper);
  }
  if (keeper_ != nullptr) coordinator = keeper_->address();
  network_->prepare(coordinator);  // that it is not found now is said when time is up
  std::unique_ptr<Listener> listener;
  Member self{.site = options_.site, .address = "", .streams = options_.streams};
  if (!options_.listen.empty()) {
    auto made = network_->listen(options_.listen);
    if (!made.ok()) return made.status();
    listener = std::move(*made);
    auto address = advertised(listener->address());
    if (!address.ok()) return address.status();
    self.address = *address;
  }
  EngineOptions engine;
  engine.coordinator = coordinator;
  engine.join = {.run = options_.run,
                 .sites = options_.sites,
                 .self = self,
                 .codec_table = codecs::table_hash(),
                 .ticket = random_seed(),
                 .call = options_.call};
  engine.timeout_ns = options_.timeout_ns;
  engine.heartbeat_timeout_ns = options_.heartbeat_timeout_ns;
  engine.relays = options_.relays;
  engine.on_loss = options_.on_loss;
  engine.min_sites = options_.min_sites;
  engine.favourite = options_.favourite;
  engine.tell = [events = events_](Event event) { events->put(std::move(event)); };
  if (options_.codec_threads > 0) {
    const auto wake = [reactor = reactor_.get()] { reactor->post([] {}); };
    workers_ = std::make_unique<WorkerPool>(options_.codec_threads, wake);
    engine.workers = workers_.get();
  }
  auto joined = std::make_shared<Work>(0);
  joined->when_done([this, work = joined.get()] { end_joining(work->outcome()); });
  engine_ = std::make_unique<Engine>(*network_, std::move(listener), std::move(engine),
                                     std::move(joined), clock_.now_ns());
  observer_ = std::make_unique<Observer>([this] { observe(); });
  reactor_->add(engine_.get());
  reactor_->add(observer_.get());
  thread_ = std::thread([this] { run(); });
  return {};
}

// "host:port" that the peers dial: as asked, or the address that faces the coordinator, with the
// port that we got.
Result<std::string> Session::advertised(const std::string& listening_at) const {
  const auto bound = split_address(listening_at);
  if (!bound.ok()) return bound.status();
  if (!options_.advertise.empty()) {
    const auto asked = split_address(options_.advertise);
    if (!asked.ok()) return asked.status();
    if (asked->port != "0") return options_.advertise;
    return options_.advertise.substr(0, options_.advertise.rfind(':') + 1) + bound->port;
  }
  if (bound->host != "0.0.0.0" && bound->host != "::") return listening_at;
  const auto host = TcpNetwork::address_towards(options_.rendezvous);
  if (!host.ok()) return host.status();
  return *host + ":" + bound->port;
}

void Session::run() {
  reactor_->run();
  {
    const std::lock_guard lock(mutex_);
    last_stats_ = engine_->stats();
    closed_ = true;
    completed_.notify_all();
    called_.notify_all();
  }
  events_->close();
  // From here on nobody posts; what was posted before still gets its answer.
  reactor_->run_posted();
}

// What callers of any thread may want to know, and the end of the thread once goodbyes are said.
void Session::observe() {
  if (engine_->epoch() > 0) was_called_ = true;
  if (joined_->done() && joined_->outcome().status.ok()) whole_ = engine_->whole();
  stuck_ = engine_->stuck();
  if (const Call* call = engine_->call(); call != nullptr) {
    const std::lock_guard lock(mutex_);
    if (!call_ || call_->epoch < call->epoch) {
      call_ = *call;
      called_.notify_all();
    }
  }
  if (engine_->closed()) reactor_->stop();
}

void Session::attend(Standing standing, std::uint32_t failed) {
  const std::lock_guard lock(mutex_);
  if (!closed_) reactor_->post([this, standing, failed] { engine_->attend(standing, failed); });
}

std::optional<Call> Session::wait_for_call(std::uint32_t after, std::int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  const auto called = [&] { return call_ && call_->epoch > after; };
  called_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [&] { return closed_ || called(); });
  if (closed_ || !called()) return std::nullopt;
  return call_;
}

void Session::stop_listening() {
  std::promise<void> stopped;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    reactor_->post([&] {
      engine_->stop_listening();
      stopped.set_value();
    });
  }
  stopped.get_future().wait();
}

Status Session::usable() const {
  if (getpid() != owner_)
    return refused("this session belongs to process " + std::to_string(owner_) +
                   "; a forked child must join on its own");
  return {};
}

Result<std::shared_ptr<Work>> Session::submit(Request request) {
  if (auto s = usable(); !s.ok()) return s;
  const std::lock_guard lock(mutex_);
  if (closed_) return cancelled("the session is closed");
  while (!in_flight_.empty() && in_flight_.front()->done()) in_flight_.pop_front();
  if (in_flight_.size() >= max_in_flight)
    return refused(std::to_string(max_in_flight) +
                   " operations are in flight: wait for some before beginning more");
  auto work = std::make_shared<Work>(next_operation_++);
  in_flight_.push_back(work);
  // Posted under the lock: numbers reach the engine in order.
  reactor_->post([this, work, call = std::make_shared<Request>(std::move(request))] {
    engine_->submit(work, std::move(*call), clock_.now_ns());
  });
  return work;
}

void Session::announce_done(const std::shared_ptr<Work>& work) {
  work->when_done([this, weak = std::weak_ptr<Work>(work)] {
    if (auto done = weak.lock()) complete(std::move(done));
  });
}

void Session::complete(std::shared_ptr<Work> work) {
  const std::lock_guard lock(mutex_);
  completions_.push_back(std::move(work));
  completed_.notify_one();
}

std::shared_ptr<Work> Session::next_completion() {
  std::unique_lock lock(mutex_);
  completed_.wait(lock, [this] { return closed_ || !completions_.empty(); });
  if (completions_.empty()) return nullptr;
  auto work = std::move(completions_.front());
  completions_.pop_front();
  return work;
}

// Callers see the end of joining only after what they may read then is written.
void Session::end_joining(const Outcome& outcome) {
  if (const Roster* roster = engine_->roster()) roster_ = *roster;
  reach_ = reach_of(roster_);
  rank_ = engine_->rank();
  epoch_ = engine_->epoch();
  if (outcome.status.ok()) relayed_ = relayed_pairs(outcome.gathered);
  joined_->finish(outcome);
}

void Session::set_paths(std::shared_ptr<const Paths> paths) {
  const std::lock_guard lock(mutex_);
  paths_ = std::move(paths);
}

Choice Session::choice_for(std::optional<Algorithm> schedule, const Format& format) const {
  std::shared_ptr<const Paths> paths;
  {
    const std::lock_guard lock(mutex_);
    paths = paths_;
  }
  const int world = static_cast<int>(roster_.members.size());
  return schedule ? choose_for(*schedule, world, format, paths.get(), reach_)
                  : choose(world, format, paths.get(), reach_);
}

void Session::set_paces(Paces paces) {
  const std::lock_guard lock(mutex_);
  if (!closed_) reactor_->post([this, paces = std::move(paces)] { engine_->set_paces(paces); });
}

void Session::set_streams(int peer, int count) {
  const std::lock_guard lock(mutex_);
  if (!closed_)
    reactor_->post([this, peer, count] { engine_->set_streams(peer, count, clock_.now_ns()); });
}

// Asks in the engine's thread, and waits; nothing once the session is closed.
template <class Question>
auto Session::ask(Question question) -> std::optional<decltype(question())> {
  std::promise<decltype(question())> promise;
  auto future = promise.get_future();
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return std::nullopt;
    reactor_->post([&] { promise.set_value(question()); });
  }
  return future.get();
}

bool Session::stuck() {
  return ask([this] { return engine_->stuck(); }).value_or(stuck_.load());
}

EngineStats Session::stats() {
  auto now = ask([this] { return engine_->stats(); });
  return now ? *std::move(now) : last_stats_;
}

SiteSet Session::present() {
  return ask([this] { return engine_->present(); }).value_or(SiteSet{});
}

SiteSet Session::lawful() {
  return ask([this] { return engine_->lawful(); }).value_or(SiteSet{});
}

void Session::abort(Status why) {
  constexpr std::size_t max_text = 2048;
  why.text.resize(std::min(why.text.size(), max_text));
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  reactor_->post([this, why = std::move(why)] { engine_->abort(why, clock_.now_ns()); });
}

namespace {

// Large memory has gone back already; of the small, malloc keeps what each thread freed for threads
// like it, which the next session need not have.
void give_memory_back() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace

void Session::close() {
  if (getpid() != owner_) return;
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) reactor_->post([this] { engine_->close(clock_.now_ns()); });
  }
  const std::lock_guard lock(closing_);
  if (!thread_.joinable()) return;
  thread_.join();
  observer_.reset();
  engine_.reset();
  workers_.reset();
  keeper_.reset();
  network_.reset();
  reactor_.reset();
  give_memory_back();
}

Session::~Session() {
  if (getpid() == owner_) {
    if (thread_.joinable()) close();
    return;
  }
  // A forked child: the threads are not here and the sockets are the parent's. Forget them,
  // untouched.
  if (thread_.joinable()) thread_.detach();
  (void)observer_.release();
  (void)engine_.release();
  (void)workers_.release();
  (void)network_.release();
  (void)reactor_.release();
}

}  // namespace isthmus
