// Mesh's dialling: directly, on connections that the peer has offered, by way of third sites.
//
// Who says hello stays the same whichever way a connection came to be; so two sites that try at the
// same time never end with one stream twice.
#include <algorithm>

#include "mesh/hello.hpp"
#include "mesh/mesh.hpp"
#include "mesh/messages.hpp"

namespace isthmus {
namespace {

constexpr std::int64_t dial_for_ns = 10 * second_ns;
constexpr std::int64_t all_ways_for_ns = 20 * second_ns;  // but no more of the join's time than
constexpr std::int64_t of_the_join = 4;                   // three quarters
// Whoever cannot be dialled may be gone, and then the coordinator says so.
constexpr std::int64_t one_way_for_ns = silence_limit_ns + 2 * second_ns;
static_assert(all_ways_for_ns > silence_limit_ns);
// A connection that is lost in a firewall is tried again after 1 and 3 s.
constexpr std::int64_t way_for_ns = 4 * second_ns;
constexpr std::int64_t retry_after_ns = second_ns / 4;
constexpr int anywhere = -1;
constexpr std::int64_t offer_for_ns = 10 * second_ns;
constexpr std::int64_t offer_again_ns = second_ns;
constexpr std::ptrdiff_t max_offers = 64;  // to a peer at a time

std::string quoted(const std::string& site) {
  return "site \"" + site + "\"";
}

}  // namespace

Status Mesh::plan_routes(std::int64_t now_ns, std::int64_t deadline_ns) {
  const int world = static_cast<int>(roster_.members.size());
  const std::int64_t quarter_ns = std::max((deadline_ns - now_ns) / of_the_join, retry_after_ns);
  way_for_ns_ = std::min(way_for_ns, quarter_ns);
  dial_until_ns_ = world == 2 ? std::min(deadline_ns, now_ns + one_way_for_ns)
                              : now_ns + std::min(all_ways_for_ns, 3 * quarter_ns);
  routes_.resize(seats_.size());
  next_offers_.assign(seats_.size(), now_ns + (member(rank_).address.empty() ? 0 : way_for_ns_));
  for (int peer = 0; peer < world; ++peer) {
    if (peer == rank_) continue;
    if (!dials(peer)) continue;
    Route& route = routes_[static_cast<std::size_t>(peer)];
    route.since_ns = now_ns;
    if (!member(peer).address.empty()) route.attempts.push_back({.way = direct_way});
    for (int third = 0; third < world && relays_; ++third)
      if (third != rank_ && third != peer && !member(third).address.empty())
        route.attempts.push_back({.way = third});
    if (route.attempts.empty())
      return refused("neither " + quoted(member(std::min(peer, rank_)).site) + " nor " +
                         quoted(member(std::max(peer, rank_)).site) +
                         " can be dialled: let one of them listen" +
                         (relays_ ? ", or a third site that both reach"
                                  : "; relay=False lets no third site connect them"),
                     peer);
    const auto streams = static_cast<std::uint16_t>(streams_with(peer) + 1);
    for (std::uint16_t i = 0; i < streams; ++i)
      dials_.push_back({.peer = peer, .stream = i, .retry_ns = now_ns});
  }
  return {};
}

bool Mesh::dials(int peer) const {
  const int low = std::min(peer, rank_), high = std::max(peer, rank_);
  return rank_ == (member(low).address.empty() && !member(high).address.empty() ? low : high);
}

void Mesh::add_streams(int peer, int count, bool control, std::int64_t now_ns) {
  std::erase_if(dials_, [peer](const Dial& dial) { return dial.peer == peer; });
  for (int i = control ? -1 : 0; i < std::max(count, 0); ++i)
    dials_.push_back({.peer = peer,
                      .stream = 0,
                      .retry_ns = now_ns,
                      .until_ns = now_ns + dial_for_ns,
                      .numbered = i >= 0});
  deadline_ns_ = now_ns;
}

int Mesh::dialling(int peer) const {
  return static_cast<int>(std::ranges::count(dials_, peer, &Dial::peer));
}

void Mesh::step_dial(Dial& dial, std::int64_t now_ns) {
  constexpr std::uint32_t last_number = 0xffff;  // that a hello can say
  const bool numbers_left = !links_taken_ || !dial.numbered ||
                            next_numbers_[static_cast<std::size_t>(dial.peer)] <= last_number;
  if (now_ns >= dial.until_ns || !numbers_left) {
    dial.over = true;
    return;
  }
  // A stream that is added cannot wait long for an answer: the link may have no other one.
  const std::int64_t answer_by_ns = links_taken_ && dial.channel != nullptr
                                        ? dial.opened_ns + heartbeat_timeout_ns_ / 2
                                        : never_ns;
  if (now_ns >= answer_by_ns) {
    dial.channel.reset();
    dial.said = Dial::Said::nothing;
    dial.retry_ns = now_ns;
  }
  if (dial.channel == nullptr && now_ns >= dial.retry_ns) open(dial, now_ns);
  if (dial.channel != nullptr) {
    if (auto s = greet(dial); !s.ok()) {
      dial.last_error = s.text;
      dial.channel.reset();
      dial.said = Dial::Said::nothing;
      dial.retry_ns = now_ns + retry_after_ns;
    }
  }
  if (dial.over) return;
  deadline_ns_ = std::min(deadline_ns_, dial.until_ns);
  if (dial.channel == nullptr)
    deadline_ns_ = std::min(deadline_ns_, dial.retry_ns);
  else if (links_taken_)
    deadline_ns_ = std::min(deadline_ns_, dial.opened_ns + heartbeat_timeout_ns_ / 2);
}

void Mesh::open(Dial& dial, std::int64_t now_ns) {
  const int way = way_now(dial.peer);
  auto stream = network_.connect(member(way == direct_way ? dial.peer : way).address);
  if (!stream.ok()) {
    dial.last_error = stream.status().text;
    dial.retry_ns = now_ns + retry_after_ns;
    return;
  }
  dial.channel = std::make_unique<Channel>(std::move(*stream));
  dial.opened_ns = now_ns;
  dial.way = way;
  if (way == direct_way) return say_hello(dial, direct_way);
  dial.channel->send(stamp(Kind::relay), wish_for(static_cast<std::uint16_t>(dial.peer)));
  dial.said = Dial::Said::wish;
}

int Mesh::way_now(int peer) const {
  if (const auto taken = way_taken(peer)) return *taken;
  const Route& route = routes_[static_cast<std::size_t>(peer)];
  return route.attempts[route.at].way;
}

// The way of the first stream to a peer that stands, or only has to be welcomed: the others go the
// same, so that what happens to one of them happens to all and is noticed.
std::optional<int> Mesh::way_taken(int peer) const {
  if (links_taken_ || meets(peer)) return ways_[static_cast<std::size_t>(peer)];
  const auto greets = std::ranges::find_if(dials_, [&](const Dial& dial) {
    return dial.peer == peer && dial.said == Dial::Said::hello &&
           dial.channel->stream().connected();
  });
  return greets == dials_.end() ? std::nullopt : std::optional(greets->way);
}

void Mesh::say_hello(Dial& dial, int way) {
  dial.way = way;
  dial.said = Dial::Said::hello;
  const int count = links_taken_ ? to_be_added : streams_with(dial.peer);
  if (links_taken_ && dial.numbered)
    dial.stream = static_cast<std::uint16_t>(next_numbers_[static_cast<std::size_t>(dial.peer)]++);
  const Hello hello{.to = static_cast<std::uint16_t>(dial.peer),
                    .stream = dial.stream,
                    .streams = static_cast<std::uint16_t>(count),
                    .by = way == direct_way ? by_nobody : static_cast<std::uint16_t>(way)};
  dial.channel->send(stamp(Kind::hello), to_payload(hello));
}

// Works on a connection; not ok: it is good for nothing.
Status Mesh::greet(Dial& dial) {
  while (true) {
    if (auto s = dial.channel->flush(); !s.ok()) return s;
    const bool asks = dial.said == Dial::Said::wish;
    auto message = dial.channel->receive(max_join_bytes);
    if (!message.ok()) return message.status();
    if (!message->has_value()) return {};
    if (asks) {
      if (auto s = hear_relay(dial, **message); !s.ok()) return s;
      continue;
    }
    const Header& header = (*message)->header;
    const bool ours = header.run == roster_.run && header.source == dial.peer;
    if (ours && header.kind == Kind::refuse) return heed_refusal(dial, **message);
    if (!ours || header.kind != Kind::welcome || header.length != 0)
      return wire_error("what answers there is another isthmus site");
    take_seat(dial);
    return {};
  }
}

void Mesh::take_seat(Dial& dial) {
  const auto peer = static_cast<std::size_t>(dial.peer);
  auto stream = dial.channel->release();
  dial.channel.reset();
  dial.over = true;
  if (links_taken_) {
    added_.push_back({dial.peer, std::move(stream), dial.stream, true});
    return;
  }
  seats_[peer][dial.stream] = std::move(stream);
  if (dial.way != direct_way) ways_[peer] = dial.way;
}

// The third site has connected us with the peer, or says why not.
Status Mesh::hear_relay(Dial& dial, const Message& message) {
  if (message.header.run != roster_.run || message.header.source != dial.way)
    return wire_error("what answers there is another isthmus site");
  if (message.header.kind == Kind::welcome && message.payload.empty()) {
    if (way_taken(dial.peer).value_or(dial.way) != dial.way)
      return refused("another stream has taken another way");
    say_hello(dial, dial.way);
    return {};
  }
  if (message.header.kind != Kind::refuse) return wire_error("it does not answer as a relay");
  return heed_refusal(dial, message);
}

// Another way has to be tried; never ok.
Status Mesh::heed_refusal(const Dial& dial, const Message& message) {
  const auto why = decode_refusal(message.payload);
  if (!why.ok()) return why.status();
  if (!links_taken_) routes_[static_cast<std::size_t>(dial.peer)].refused = true;
  return refused(*why);
}

// Takes another way to a peer where this one brings nothing, and offers ourselves to a peer that
// does not come. Not ok: there is no way.
Status Mesh::step_route(int peer, std::int64_t now_ns) {
  Route& route = routes_[static_cast<std::size_t>(peer)];
  if (route.attempts.empty()) {
    if (peer != rank_) make_offers(peer, now_ns);
    return {};
  }
  const auto to_peer = [&](const Dial& dial) { return dial.peer == peer; };
  if (std::ranges::none_of(dials_, to_peer)) return {};
  const bool stands = way_taken(peer).has_value();
  const std::int64_t until_ns = route.since_ns + (stands ? dial_for_ns : way_for_ns_);
  const bool over = route.refused && !stands;
  if (now_ns >= until_ns || over) {
    take_next_way(peer, now_ns);
    deadline_ns_ = now_ns;
    return {};
  }
  if (route.all_tried && now_ns >= dial_until_ns_ && !stands) return unreachable(peer);
  deadline_ns_ = std::min(deadline_ns_, until_ns);
  if (now_ns < dial_until_ns_) deadline_ns_ = std::min(deadline_ns_, dial_until_ns_);
  return {};
}

void Mesh::take_next_way(int peer, std::int64_t now_ns) {
  Route& route = routes_[static_cast<std::size_t>(peer)];
  for (Dial& dial : dials_) {
    if (dial.peer != peer) continue;
    route.attempts[route.at].error = std::exchange(dial.last_error, {});
    dial.channel.reset();
    dial.said = Dial::Said::nothing;
    dial.retry_ns = now_ns;
  }
  route.refused = false;
  route.since_ns = now_ns;
  while (true) {
    route.at = (route.at + 1) % route.attempts.size();
    if (route.at == 0) {
      route.all_tried = true;
      return;
    }
    Attempt& next = route.attempts[route.at];
    if (meets(next.way)) return;
    next.error = "it is not connected with us either";
  }
}

Status Mesh::unreachable(int peer) const {
  const Member& there = member(peer);
  const auto& attempts = routes_[static_cast<std::size_t>(peer)].attempts;
  std::string text = quoted(member(rank_).site) + " cannot reach " + quoted(there.site) + " at " +
                     (there.address.empty() ? "any address" : there.address);
  for (const Attempt& attempt : attempts) {
    if (attempt.way != direct_way) text += ", nor by way of " + quoted(member(attempt.way).site);
    text += " (" + (attempt.error.empty() ? "no answer" : attempt.error) + ")";
  }
  text += ": check advertise= at " + quoted(there.site) + " and that its port is open";
  if (!relays_)
    text += "; relay=False at " + quoted(member(rank_).site) + " lets no third site connect them";
  else if (roster_.members.size() > 2)
    text += ", or let a third site be one that both can reach";
  return refused(std::move(text), peer);
}

// A connection that leads to the peer, for us to say hello on.
void Mesh::take_offer(Guest& guest, std::int64_t now_ns) {
  const int source = guest.word->header.source;
  if (way_taken(source).value_or(direct_way) != direct_way) return;
  const auto dial = std::ranges::find_if(
      dials_, [&](const Dial& d) { return d.peer == source && d.said != Dial::Said::hello; });
  const auto unheard = std::ranges::find_if(dials_, [&](const Dial& d) {
    return d.peer == source && d.channel != nullptr && !d.channel->stream().connected();
  });
  const auto taker = dial != dials_.end() ? dial : unheard;
  if (taker == dials_.end()) return;
  taker->channel = std::make_unique<Channel>(std::move(guest.channel));
  taker->opened_ns = now_ns;
  say_hello(*taker, direct_way);
}

// Where the peer says hello and has not come, perhaps because it cannot: connections for it to say
// it on, to the peer itself and to third sites that may splice them with its own.
void Mesh::make_offers(int peer, std::int64_t now_ns) {
  const auto& seats = seats_[static_cast<std::size_t>(peer)];
  const auto missing =
      std::ranges::count_if(seats, [](const auto& stream) { return stream == nullptr; });
  std::int64_t& next_ns = next_offers_[static_cast<std::size_t>(peer)];
  if (missing == 0) {
    std::erase_if(guests_, [&](const Guest& guest) { return guest.offered_to == peer; });
    return;
  }
  if (now_ns >= next_ns) {
    next_ns = now_ns + offer_again_ns;
    auto made = offers_to(peer, anywhere);
    for (int to = 0; to < static_cast<int>(seats_.size()); ++to) {
      if (to == rank_ || member(to).address.empty()) continue;
      if (to != peer && !(relays_ && meets(to))) continue;
      for (auto i = offers_to(peer, to); i < missing && made < max_offers; ++i, ++made)
        make_offer(to, peer, now_ns);
    }
  }
  deadline_ns_ = std::min(deadline_ns_, next_ns);
}

void Mesh::offer_streams(int peer, int count, std::int64_t now_ns) {
  const int way = ways_[static_cast<std::size_t>(peer)];
  const int at = way == direct_way ? peer : way;
  if (member(at).address.empty()) return;
  for (auto i = offers_to(peer, at); i < std::min<std::ptrdiff_t>(count, max_offers); ++i)
    make_offer(at, peer, now_ns);
}

// How many wait for the peer's word, at that site or anywhere.
std::ptrdiff_t Mesh::offers_to(int peer, int at) const {
  return std::ranges::count_if(guests_, [&](const Guest& guest) {
    return guest.offered_to == peer && (at == anywhere || guest.offered_at == at);
  });
}

void Mesh::make_offer(int at, int peer, std::int64_t now_ns) {
  auto stream = network_.connect(member(at).address);
  if (!stream.ok()) return;
  guests_.push_back({.channel = Channel(std::move(*stream)),
                     .deadline_ns = now_ns + offer_for_ns,
                     .offered_to = peer,
                     .offered_at = at});
  guests_.back().channel.send(stamp(Kind::offer), wish_for(static_cast<std::uint16_t>(peer)));
}

}  // namespace isthmus
