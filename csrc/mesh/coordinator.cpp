#include "mesh/coordinator.hpp"

#include <algorithm>
#include <array>

#include "mesh/gathering.hpp"
#include "mesh/messages.hpp"

namespace isthmus {
namespace {

constexpr std::size_t max_strangers = 256;
constexpr std::size_t max_guests = 4096;
constexpr std::int64_t stranger_patience_ns = 10 * second_ns;
// A refused guest may still be writing; closing on unread bytes would destroy the refusal on its
// way.
constexpr std::size_t max_drained_bytes = 1 << 20;
// Frames that are taken from one guest before the others have their turn.
constexpr int frames_at_once = 16;

enum class Phase {
  stranger,  // has not sent a whole join
  member,    // sits in the gathering of `run`
  parting,   // has been refused; what it still sends is thrown away
  gone,      // to be removed at the end of the step
};

struct Guest {
  GuestId id = no_guest;
  Channel channel;
  Phase phase = Phase::stranger;
  std::int64_t deadline_ns = never_ns;  // by when it must have done something
  std::string run;
  bool news = false;  // has not been told of the last change; waits until it has read what it was
                      // told before
  std::size_t drained = 0;
  bool shut = false;
};

std::uint64_t split_mix(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

struct Coordinator::State {
  std::unique_ptr<Listener> listener;
  std::uint64_t random = 0;
  GuestId last_guest = no_guest;
  std::map<GuestId, Guest> guests;
  std::map<std::string, Gathering> runs;

  void accept(std::int64_t now_ns);
  bool hear(Guest& guest, std::int64_t now_ns);
  void take(Guest& guest, const Message& message, std::int64_t now_ns);
  void join(Guest& guest, const Message& message, std::int64_t now_ns);
  void refuse(Guest& guest, const std::string& text, std::int64_t now_ns);
  void depart(Guest& guest);
  void dissolve(Guest& reporter, const std::string& text, std::int64_t now_ns);
  void spread(const Gathering& run);
  void speak(Guest& guest);
  void drain(Guest& guest);
};

void Coordinator::State::accept(std::int64_t now_ns) {
  auto strangers = static_cast<std::size_t>(std::ranges::count_if(
      guests, [](const auto& entry) { return entry.second.phase != Phase::member; }));
  while (auto stream = listener->accept()) {
    // Beyond the limits the stream closes here; an honest site tries again.
    if (strangers == max_strangers || guests.size() == max_guests) continue;
    ++strangers;
    const GuestId id = ++last_guest;
    guests.emplace(id, Guest{.id = id,
                             .channel = Channel(std::move(stream)),
                             .deadline_ns = now_ns + stranger_patience_ns,
                             .run = {}});
  }
}

// Whether there may be more to hear at once.
bool Coordinator::State::hear(Guest& guest, std::int64_t now_ns) {
  for (int i = 0; i < frames_at_once; ++i) {
    if (guest.phase == Phase::parting) drain(guest);
    if (guest.phase == Phase::parting || guest.phase == Phase::gone) return false;
    auto message = guest.channel.receive(max_join_bytes);
    if (message.status().code == Code::refused) {
      refuse(guest, "seen from the coordinator: " + message.status().text, now_ns);
    } else if (!message.ok()) {
      depart(guest);
      guest.phase = Phase::gone;
    } else if (!message->has_value()) {
      return false;
    } else {
      take(guest, **message, now_ns);
    }
  }
  return true;
}

void Coordinator::State::take(Guest& guest, const Message& message, std::int64_t now_ns) {
  const Kind kind = message.header.kind;
  if (guest.phase == Phase::stranger && kind == Kind::join) {
    join(guest, message, now_ns);
  } else if (guest.phase == Phase::member && kind == Kind::heartbeat && message.payload.empty()) {
    guest.deadline_ns = now_ns + silence_limit_ns;
    // Whoever does not read gets no answers either, so that nothing piles up here.
    if (guest.channel.flushed()) guest.channel.send({.kind = Kind::heartbeat});
  } else if (const auto text = decode_refusal(message.payload);
             guest.phase == Phase::member && kind == Kind::refuse && text.ok()) {
    dissolve(guest, *text, now_ns);
  } else {
    // In peace (leave) or out of its mind: the others see the same.
    depart(guest);
    guest.phase = Phase::gone;
  }
}

void Coordinator::State::join(Guest& guest, const Message& message, std::int64_t now_ns) {
  auto request = decode_join(message.payload);
  if (!request.ok()) return refuse(guest, request.status().text, now_ns);
  const std::string from = guest.channel.stream().peer_address();
  Gathering& run = runs.try_emplace(request->run, *request).first->second;
  if (run.seat_of(*request) == nullptr)
    if (const auto objection = run.objection(*request); !objection.ok())
      return refuse(guest, objection.text, now_ns);

  const GuestId before = run.seat(*request, guest.id, from);
  if (const auto it = guests.find(before); it != guests.end()) it->second.phase = Phase::gone;
  guest.phase = Phase::member;
  guest.run = request->run;
  guest.deadline_ns = now_ns + silence_limit_ns;
  if (run.complete()) {
    guest.news = true;  // it has missed the roster
    return;
  }
  if (run.full()) {
    std::uint64_t number = split_mix(random);
    while (number == 0) number = split_mix(random);
    run.complete_as(number);
  }
  spread(run);
}

void Coordinator::State::refuse(Guest& guest, const std::string& text, std::int64_t now_ns) {
  depart(guest);
  guest.channel.send({.kind = Kind::refuse}, encode_refusal(text));
  guest.phase = Phase::parting;
  guest.deadline_ns = now_ns + stranger_patience_ns;
}

void Coordinator::State::depart(Guest& guest) {
  if (guest.phase != Phase::member) return;
  guest.phase = Phase::gone;
  const auto it = runs.find(guest.run);
  if (it == runs.end()) return;
  Gathering& run = it->second;
  run.vacate(guest.id);
  if (run.deserted())
    runs.erase(it);
  else if (!run.complete())
    spread(run);
}

// One site cannot go on with the roster: then nobody can.
void Coordinator::State::dissolve(Guest& reporter, const std::string& text, std::int64_t now_ns) {
  const auto it = runs.find(reporter.run);
  std::vector<Seat> seats;
  if (it != runs.end()) seats = it->second.seats();
  if (it != runs.end()) runs.erase(it);
  for (const Seat& seat : seats) {
    const auto other = guests.find(seat.guest);
    if (other == guests.end() || seat.guest == reporter.id) continue;
    refuse(other->second, text, now_ns);
  }
  reporter.phase = Phase::gone;
}

void Coordinator::State::spread(const Gathering& run) {
  for (const Seat& seat : run.seats())
    if (const auto it = guests.find(seat.guest); it != guests.end()) it->second.news = true;
}

// Writes what waits, and news only after it: a guest that does not read holds one list, not all.
void Coordinator::State::speak(Guest& guest) {
  if (guest.phase == Phase::gone) return;
  const auto run = runs.find(guest.run);
  if (guest.phase == Phase::member && guest.news && guest.channel.flushed() && run != runs.end()) {
    const Header header{
        .kind = Kind::roster, .run = run->second.number(), .generation = run->second.generation()};
    guest.channel.send(header, encode_attendance(run->second.attendance()));
    guest.news = false;
  }
  if (!guest.channel.flush().ok()) {
    depart(guest);
    guest.phase = Phase::gone;
    return;
  }
  if (guest.phase == Phase::parting && guest.channel.flushed() && !guest.shut) {
    guest.channel.stream().shut_write();
    guest.shut = true;
  }
}

void Coordinator::State::drain(Guest& guest) {
  std::array<std::byte, 4096> waste;
  const ByteSpan into(waste);
  while (guest.drained < max_drained_bytes) {
    const auto got = guest.channel.stream().read(std::span(&into, 1));
    if (got.ok() && *got == 0) return;
    if (!got.ok()) break;
    guest.drained += *got;
  }
  guest.phase = Phase::gone;
}

Coordinator::Coordinator(std::unique_ptr<Listener> listener, std::uint64_t seed)
    : state_(std::make_unique<State>()) {
  state_->listener = std::move(listener);
  state_->random = seed;
}

Coordinator::~Coordinator() = default;

std::string Coordinator::address() const {
  return state_->listener->address();
}

std::int64_t Coordinator::step(std::int64_t now_ns) {
  State& s = *state_;
  s.accept(now_ns);
  std::int64_t next_ns = never_ns;
  for (auto& [id, guest] : s.guests) {
    if (s.hear(guest, now_ns)) next_ns = now_ns;
    if (guest.deadline_ns <= now_ns) {
      s.depart(guest);
      guest.phase = Phase::gone;
    }
  }
  // Twice: a guest that is lost while it is spoken to is news for those before it.
  for (int round = 0; round < 2; ++round)
    for (auto& [id, guest] : s.guests) s.speak(guest);
  for (auto it = s.guests.begin(); it != s.guests.end();) {
    const Guest& guest = it->second;
    next_ns = guest.phase == Phase::gone ? next_ns : std::min(next_ns, guest.deadline_ns);
    it = guest.phase == Phase::gone ? s.guests.erase(it) : std::next(it);
  }
  return next_ns;
}

}  // namespace isthmus
