// Coordinator's state: its guests, the gatherings in which they sit, and the waiting rooms of runs
// that go on. For coordinator.cpp and coordinator_rooms.cpp alone.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "mesh/coordinator.hpp"
#include "mesh/gathering.hpp"
#include "mesh/messages.hpp"
#include "mesh/waiting_room.hpp"

namespace isthmus {

enum class Phase {
  stranger,  // has not sent a whole join
  member,    // sits in a gathering of `run`, waits to, or takes part in the run
  parting,   // has been refused; what it still sends is thrown away
  gone,      // to be removed at the end of the step
};

struct Guest {
  GuestId id = no_guest;
  Channel channel;
  Phase phase = Phase::stranger;
  std::int64_t deadline_ns = never_ns;  // by when it must have done something
  std::string run;
  std::uint32_t epoch = 0;  // of its gathering
  std::optional<Call> summons{};
  bool news = false;  // has not been told of the last change; waits until it has read what it was
                      // told before
  std::optional<Attendance> left{};   // to be told: who is still there of its roster
  std::optional<JoinRequest> held{};  // a stranger's, who would be refused for a roster that broke
  std::size_t drained = 0;
  bool shut = false;
};

// Each epoch of a run gathers anew.
struct GatheringKey {
  std::string run;
  std::uint32_t epoch = 0;
  auto operator<=>(const GatheringKey&) const = default;
};

inline GatheringKey key_of(const Guest& guest) {
  return {guest.run, guest.epoch};
}

struct Coordinator::State {
  std::unique_ptr<Listener> listener;
  std::uint64_t random = 0;
  GuestId last_guest = no_guest;
  std::map<GuestId, Guest> guests;
  std::map<GatheringKey, Gathering> gatherings;
  std::map<std::string, WaitingRoom> rooms;  // of runs in which somebody takes part or waits

  void accept(std::int64_t now_ns);
  bool hear(Guest& guest, std::int64_t now_ns);
  void take(Guest& guest, const Message& message, std::int64_t now_ns);
  void join(Guest& guest, const Message& message, std::int64_t now_ns);
  bool knows(const JoinRequest& request, std::uint64_t number);
  void seat(Guest& guest, const JoinRequest& request, std::int64_t now_ns);
  void admit(Guest& guest, const JoinRequest& request, std::int64_t now_ns);
  void attend(Guest& guest, const Message& message, std::int64_t now_ns);
  void move_to_room(const std::string& run, std::int64_t now_ns);
  void begin_anew(WaitingRoom& room, std::int64_t now_ns);
  void mind_rivals(const Guest& guest, std::int64_t now_ns);
  std::int64_t mind_room(WaitingRoom& room, std::int64_t now_ns, const std::string& run);
  void give_up(const GatheringKey& key, const std::string& why, std::int64_t now_ns);
  void tell_waiters(const WaitingRoom& room);
  WaitingRoom* room_of(const Guest& guest);
  void refuse(Guest& guest, const std::string& text, std::int64_t now_ns);
  void depart(Guest& guest);
  void lose(Guest& guest);
  void try_again(Guest& guest, std::int64_t now_ns);
  void dissolve(Guest& reporter, const std::string& text, std::int64_t now_ns);
  void spread(const Gathering& gathering);
  void speak(Guest& guest);
  void drain(Guest& guest);
};

}  // namespace isthmus
