#include "mesh/coordinator.hpp"

#include <algorithm>
#include <array>

#include "mesh/coordinator_state.hpp"

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

std::uint64_t split_mix(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

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
      lose(guest);
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
  WaitingRoom* room = room_of(guest);
  const bool may_join =
      (guest.phase == Phase::stranger && !guest.held) || (room != nullptr && room->waits(guest.id));
  const bool may_attend = guest.phase == Phase::stranger || guest.phase == Phase::member;
  if (room != nullptr) mind_rivals(guest, now_ns);
  if (may_join && kind == Kind::join) {
    join(guest, message, now_ns);
  } else if (may_attend && kind == Kind::presence) {
    attend(guest, message, now_ns);
  } else if ((guest.phase == Phase::member || guest.held) && kind == Kind::heartbeat &&
             message.payload.empty()) {
    if (!guest.held) guest.deadline_ns = now_ns + silence_limit_ns;
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
  if (guest.phase == Phase::member && request->run != guest.run)
    return refuse(guest, "a site waits for one run at a time", now_ns);
  if (message.header.run != 0 && !knows(*request, message.header.run))
    return refuse(guest, "this coordinator has made no such roster", now_ns);
  const auto room = rooms.find(request->run);
  const bool is_open = room != rooms.end() && room->second.open();
  if (request->call.epoch == 0 && is_open) return admit(guest, *request, now_ns);
  if (is_open)
    if (const auto objection = room->second.objection(*request); !objection.ok())
      return refuse(guest, objection.text, now_ns);
  seat(guest, *request, now_ns);
}

// The roster by which the site still joins, and its seat there.
bool Coordinator::State::knows(const JoinRequest& request, std::uint64_t number) {
  const auto it = gatherings.find({request.run, request.call.epoch});
  return it != gatherings.end() && it->second.number() == number &&
         it->second.seat_of(request) != nullptr;
}

void Coordinator::State::seat(Guest& guest, const JoinRequest& request, std::int64_t now_ns) {
  const std::string from = guest.channel.stream().peer_address();
  const GatheringKey key{request.run, request.call.epoch};
  Gathering& gathering = gatherings.try_emplace(key, request).first->second;
  if (gathering.seat_of(request) == nullptr)
    if (const auto objection = gathering.objection(request); !objection.ok()) {
      if (!gathering.broken() || key.epoch != 0 || now_ns >= guest.deadline_ns)
        return refuse(guest, objection.text, now_ns);
      guest.held = request;  // the others may leave soon, too, and come again
      return;
    }
  guest.held.reset();
  const GuestId before = gathering.seat(request, guest.id, from);
  if (const auto it = guests.find(before); it != guests.end()) {
    depart(it->second);
    it->second.phase = Phase::gone;
  }
  if (key.epoch != 0) rooms[key.run].follow(guest.id, request);
  guest.phase = Phase::member;
  guest.run = key.run;
  guest.epoch = key.epoch;
  guest.deadline_ns = now_ns + silence_limit_ns;
  if (gathering.complete()) {
    guest.news = true;  // it has missed the roster
    if (gathering.broken()) guest.left = gathering.remaining();
    return;
  }
  if (gathering.full()) {
    std::uint64_t number = split_mix(random);
    while (number == 0) number = split_mix(random);
    gathering.complete_as(number);
  }
  spread(gathering);
}

// What was held: its run has ended, or time is up.
void Coordinator::State::try_again(Guest& guest, std::int64_t now_ns) {
  const JoinRequest request = *guest.held;
  const auto room = rooms.find(request.run);
  if (room == rooms.end() || !room->second.open()) return seat(guest, request, now_ns);
  guest.held.reset();
  admit(guest, request, now_ns);
}

void Coordinator::State::refuse(Guest& guest, const std::string& text, std::int64_t now_ns) {
  depart(guest);
  guest.held.reset();
  guest.channel.send({.kind = Kind::refuse}, encode_refusal(text));
  guest.phase = Phase::parting;
  guest.deadline_ns = now_ns + stranger_patience_ns;
}

void Coordinator::State::depart(Guest& guest) {
  if (guest.phase != Phase::member) return;
  if (WaitingRoom* room = room_of(guest); room != nullptr) {
    room->forget(guest.id);
    tell_waiters(*room);
  }
  guest.phase = Phase::gone;
  const auto it = gatherings.find(key_of(guest));
  if (it == gatherings.end()) return;
  Gathering& gathering = it->second;
  gathering.vacate(guest.id);
  if (gathering.deserted())
    gatherings.erase(it);
  else if (!gathering.complete())
    spread(gathering);
}

// Gone without a word. Sites that still join each other by a roster with it never would: they are
// told, leave, and may come again. Who has joined by then does not listen.
void Coordinator::State::lose(Guest& guest) {
  const GatheringKey key = key_of(guest);
  const bool was_member = guest.phase == Phase::member;
  depart(guest);
  guest.held.reset();
  guest.phase = Phase::gone;
  const auto it = gatherings.find(key);
  const auto room = rooms.find(key.run);
  const bool goes_on = room != rooms.end() && room->second.open();
  if (!was_member || key.epoch != 0 || goes_on || it == gatherings.end()) return;
  if (!it->second.broken()) return;
  for (const Seat& seat : it->second.seats())
    if (const auto other = guests.find(seat.guest); other != guests.end())
      other->second.left = it->second.remaining();
}

// One site cannot go on with the roster: then nobody can.
void Coordinator::State::dissolve(Guest& reporter, const std::string& text, std::int64_t now_ns) {
  const auto it = gatherings.find(key_of(reporter));
  std::vector<Seat> seats;
  if (it != gatherings.end()) seats = it->second.seats();
  if (it != gatherings.end()) gatherings.erase(it);
  for (const Seat& seat : seats) {
    const auto other = guests.find(seat.guest);
    if (other == guests.end() || seat.guest == reporter.id) continue;
    refuse(other->second, text, now_ns);
  }
  depart(reporter);
  reporter.phase = Phase::gone;
}

void Coordinator::State::spread(const Gathering& gathering) {
  for (const Seat& seat : gathering.seats())
    if (const auto it = guests.find(seat.guest); it != guests.end()) it->second.news = true;
}

// Writes what waits, and news only after it: a guest that does not read holds one list, not all.
void Coordinator::State::speak(Guest& guest) {
  if (guest.phase == Phase::gone) return;
  if (guest.phase == Phase::member && guest.channel.flushed()) {
    const WaitingRoom* room = room_of(guest);
    const auto gathering = gatherings.find(key_of(guest));
    const bool waits = room != nullptr && room->waits(guest.id);
    if (guest.summons) {
      guest.channel.send({.kind = Kind::come}, encode_call(*guest.summons));
      guest.summons.reset();
    } else if (guest.news && waits) {
      guest.channel.send({.kind = Kind::waiting}, encode_waiting(room->waiting()));
      guest.news = false;
    } else if (guest.news && gathering != gatherings.end()) {
      const Header header{.kind = Kind::roster,
                          .run = gathering->second.number(),
                          .generation = gathering->second.generation()};
      guest.channel.send(header, encode_attendance(gathering->second.attendance()));
      guest.news = false;
    } else if (guest.left) {
      guest.channel.send({.kind = Kind::roster}, encode_attendance(*guest.left));
      guest.left.reset();
    }
  }
  if (!guest.channel.flush().ok()) return lose(guest);
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
    if (guest.held) s.try_again(guest, now_ns);
    if (guest.deadline_ns <= now_ns) s.lose(guest);
  }
  for (auto& [run, room] : s.rooms) next_ns = std::min(next_ns, s.mind_room(room, now_ns, run));
  // Twice: a guest that is lost while it is spoken to is news for those before it.
  for (int round = 0; round < 2; ++round)
    for (auto& [id, guest] : s.guests) s.speak(guest);
  for (auto it = s.guests.begin(); it != s.guests.end();) {
    const Guest& guest = it->second;
    next_ns = guest.phase == Phase::gone ? next_ns : std::min(next_ns, guest.deadline_ns);
    it = guest.phase == Phase::gone ? s.guests.erase(it) : std::next(it);
  }
  std::erase_if(s.rooms, [](const auto& entry) { return entry.second.empty(); });
  return next_ns;
}

}  // namespace isthmus
