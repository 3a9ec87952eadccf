// Coordinator's part in runs that go on: who takes part says so, who joins waits, and all are
// called together.
#include "mesh/coordinator_state.hpp"

namespace isthmus {

// Into the waiting room: the run goes on already.
void Coordinator::State::admit(Guest& guest, const JoinRequest& request, std::int64_t now_ns) {
  WaitingRoom& room = rooms[request.run];
  if (const auto objection = room.objection(request); !objection.ok())
    return refuse(guest, objection.text, now_ns);
  guest.phase = Phase::member;
  guest.run = request.run;
  guest.deadline_ns = now_ns + silence_limit_ns;
  room.admit(guest.id, request);
  tell_waiters(room);
  // Whose connection broke while nothing passed never heard that it ended, and we wait for its
  // silence; but its machine answers what is sent now with a reset, if nobody is there.
  for (const GuestId namesake : room.namesakes_of(guest.id))
    if (const auto it = guests.find(namesake); it != guests.end() && it->second.channel.flushed())
      it->second.channel.send({.kind = Kind::heartbeat});
}

// A site says that it takes part: to a coordinator that knows it, or that has started anew.
void Coordinator::State::attend(Guest& guest, const Message& message, std::int64_t now_ns) {
  auto presence = decode_presence(message.payload);
  if (!presence.ok()) return refuse(guest, presence.status().text, now_ns);
  if (guest.phase == Phase::member && presence->run != guest.run)
    return refuse(guest, "a site takes part in one run", now_ns);
  WaitingRoom& room = rooms[presence->run];
  if (const auto objection = room.objection(*presence); !objection.ok())
    return refuse(guest, objection.text, now_ns);
  const bool first = !room.open();
  if (guest.phase == Phase::stranger) guest.epoch = presence->epoch;
  guest.phase = Phase::member;
  guest.run = presence->run;
  guest.deadline_ns = now_ns + silence_limit_ns;
  room.hear(guest.id, std::move(*presence));
  if (first) move_to_room(guest.run, now_ns);
  mind_rivals(guest, now_ns);
  tell_waiters(room);
}

// Sites that met here as if the run were a new one: it is not.
void Coordinator::State::move_to_room(const std::string& run, std::int64_t now_ns) {
  const auto it = gatherings.find({run, 0});
  if (it == gatherings.end() || it->second.complete()) return;
  const std::vector<Seat> seats = it->second.seats();
  const JoinRequest asked{.run = run,
                          .sites = it->second.attendance().sites,
                          .self = {},
                          .codec_table = it->second.codec_table()};
  gatherings.erase(it);
  for (const Seat& seat : seats) {
    const auto guest = guests.find(seat.guest);
    if (guest == guests.end()) continue;
    JoinRequest request = asked;
    request.self = seat.member;
    request.ticket = seat.ticket;
    admit(guest->second, request, now_ns);
  }
}

void Coordinator::State::mind_rivals(const Guest& guest, std::int64_t now_ns) {
  WaitingRoom* room = room_of(guest);
  if (room == nullptr) return;
  for (const GuestId rival : room->rivals_of(guest.id))
    if (const auto it = guests.find(rival); it != guests.end())
      refuse(it->second,
             "a site of this name already takes part in run \"" + guest.run + "\" (from " +
                 guest.channel.stream().peer_address() + "): give every site its own name",
             now_ns);
}

// Returns when to look again.
std::int64_t Coordinator::State::mind_room(WaitingRoom& room, std::int64_t now_ns,
                                           const std::string& run) {
  const WaitingRoom::Orders orders = room.decide(now_ns);
  if (orders.over) give_up({run, orders.over->epoch}, orders.why, now_ns);
  for (const GuestId summoned : orders.summoned)
    if (const auto it = guests.find(summoned); it != guests.end()) it->second.summons = orders.call;
  if (!room.open()) begin_anew(room, now_ns);
  return room.deadline_ns();
}

// Nobody takes part any more: those who wait gather as for a new run.
void Coordinator::State::begin_anew(WaitingRoom& room, std::int64_t now_ns) {
  for (const auto& [id, request] : room.dismiss())
    if (const auto guest = guests.find(id); guest != guests.end())
      seat(guest->second, request, now_ns);
}

// Sites that stand in the epoch already find out by themselves; those on the way are stopped.
void Coordinator::State::give_up(const GatheringKey& key, const std::string& why,
                                 std::int64_t now_ns) {
  const auto it = gatherings.find(key);
  if (it == gatherings.end()) return;
  const std::vector<Seat> seats = it->second.seats();
  gatherings.erase(it);
  for (const Seat& seat : seats) {
    const auto guest = guests.find(seat.guest);
    if (guest == guests.end()) continue;
    const WaitingRoom* room = room_of(guest->second);
    if (room == nullptr || !room->stands(seat.guest, key.epoch)) refuse(guest->second, why, now_ns);
  }
}

void Coordinator::State::tell_waiters(const WaitingRoom& room) {
  for (const GuestId waiter : room.waiters())
    if (const auto it = guests.find(waiter); it != guests.end()) it->second.news = true;
}

WaitingRoom* Coordinator::State::room_of(const Guest& guest) {
  const auto it = rooms.find(guest.run);
  return guest.phase != Phase::member || it == rooms.end() ? nullptr : &it->second;
}

}  // namespace isthmus
