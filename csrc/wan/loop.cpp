#include "wan/loop.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace isthmus::wan {
namespace {

constexpr int read_burst =
    32;  // packets of one site before others, and what is due, get their turn
constexpr std::size_t large_packet = 16384;
constexpr std::size_t most_spare = 256;
constexpr unsigned long timer_slack_ns = 1000;  // Linux's 50 us would show in short round trips

void add(Tally& to, Tally what) {
  to.segments += what.segments;
  to.bytes += what.bytes;
}

Tally size_of(const Shape& shape, Run run) {
  return {run.end - run.first, shape.wire_bytes(run)};
}

std::string name_of(const Line& line) {
  return "line " + std::to_string(line.from) + " -> " + std::to_string(line.to);
}

Status check_line(const Line& line, int sites) {
  if (line.from < 0 || line.from >= sites || line.to < 0 || line.to >= sites ||
      line.from == line.to)
    return refused(name_of(line) + " does not join two of " + std::to_string(sites) + " sites");
  if (!(line.loss >= 0 && line.loss <= 1))
    return refused(name_of(line) + ": loss is a probability, from 0 to 1");
  if (!(line.rate_bps >= 0) || line.delay_ns < 0 || line.queue_ns < 0)
    return refused(name_of(line) + ": rate, delay and queue cannot be negative");
  return {};
}

}  // namespace

Status check(const Settings& settings) {
  const std::size_t sites = settings.sites.size();
  if (sites < 2 || sites > most_sites)
    return refused("an emulated WAN has 2 to " + std::to_string(most_sites) + " sites, not " +
                   std::to_string(sites));
  for (const Site& site : settings.sites)
    if (site.device < 0 || !(site.up_bps >= 0) || !(site.down_bps >= 0) || site.queue_ns < 0)
      return refused("a site needs a device; rates and queue cannot be negative");
  std::vector<bool> seen(sites * sites);
  for (const Line& line : settings.lines) {
    if (Status status = check_line(line, static_cast<int>(sites)); !status.ok()) return status;
    const auto at = static_cast<std::size_t>(line.from) * sites + static_cast<std::size_t>(line.to);
    if (seen[at]) return refused(name_of(line) + " is given twice");
    seen[at] = true;
  }
  if (settings.lines.size() != sites * (sites - 1))
    return refused("every ordered pair of sites needs a line");
  const auto is_site = [&](int i) { return i >= 0 && i < static_cast<int>(sites); };
  for (const Cut& cut : settings.cuts)
    if (!is_site(cut.site) || !(cut.other == whole_site || is_site(cut.other)) ||
        cut.after_ns < 0 || cut.length_ns < 0)
      return refused("a cut names a site or a pair, and times that are not negative");
  return {};
}

Loop::Loop(Settings settings, const Clock& clock, Orders* orders)
    : settings_(std::move(settings)), clock_(clock), orders_(orders), buffer_(largest_packet) {
  const std::size_t sites = settings_.sites.size();
  slow_.resize(sites);
  roads_.resize(sites * sites);
  for (std::size_t i = 0; i < sites; ++i) {
    const Site& site = settings_.sites[i];
    uplinks_.emplace_back(site.up_bps, site.queue_ns);
    downlinks_.emplace_back(site.down_bps, site.queue_ns);
    site_of_[site.address] = i;
  }
  for (const Line& line : settings_.lines) {
    const auto at = static_cast<std::size_t>(line.from) * sites + static_cast<std::size_t>(line.to);
    Road& road = roads_[at];
    road.line = line;
    road.queue = Queue(line.rate_bps, line.queue_ns);
    // A stream of its own, so that one pair's losses do not depend on another's traffic.
    road.loss = Loss(line.loss, settings_.seed * most_sites * most_sites + at);
    road.count.from = line.from;
    road.count.to = line.to;
  }
}

Status Loop::run(const std::vector<int>& stop) {
  prctl(PR_SET_TIMERSLACK, timer_slack_ns, 0UL, 0UL, 0UL);
  const std::size_t sites = settings_.sites.size();
  std::vector<pollfd> watched;
  for (const Site& site : settings_.sites) watched.push_back({site.device, POLLIN, 0});
  for (const int fd : stop) watched.push_back({fd, POLLIN, 0});
  begin_ns_ = clock_.now_ns();
  for (;;) {
    move_due();
    timespec wait{};
    if (!flights_.empty()) {
      const std::int64_t left_ns =
          std::max<std::int64_t>(0, flights_.front().at_ns - clock_.now_ns());
      wait.tv_sec = left_ns / second_ns;
      wait.tv_nsec = left_ns % second_ns;
    }
    const int ready =
        ppoll(watched.data(), watched.size(), flights_.empty() ? nullptr : &wait, nullptr);
    if (ready < 0 && errno != EINTR)
      return internal_error(std::string("poll of the sites' devices: ") + std::strerror(errno));
    if (ready <= 0) continue;
    if (orders_ != nullptr) heed_orders();
    for (std::size_t i = sites; i < watched.size(); ++i)
      if (watched[i].revents != 0) return {};
    for (std::size_t i = 0; i < sites; ++i) {
      if ((watched[i].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
        return internal_error("the device of site " + std::to_string(i) + " is gone");
      if (watched[i].revents != 0) read_from(i);
    }
  }
}

void Loop::heed_orders() {
  const std::int64_t now_ns = clock_.now_ns();
  for (std::size_t site = 0; site < slow_.size(); ++site)
    if (now_ns >= slow_[site].until_ns) slow_down(site, 1);
  for (const Order& order : orders_->take()) {
    const auto site = static_cast<std::size_t>(order.site);
    if (order.site < 0 || site >= slow_.size()) continue;
    const bool for_good = order.length_ns == never_ns;
    switch (order.kind) {
      case Order::Kind::cut:
        settings_.cuts.push_back({.site = order.site,
                                  .other = order.other,
                                  .after_ns = now_ns - begin_ns_,
                                  .length_ns = order.length_ns});
        break;
      case Order::Kind::slow:
        slow_down(site, std::max(order.factor, 1.0));
        slow_[site].until_ns = for_good ? never_ns : now_ns + order.length_ns;
        break;
      case Order::Kind::corrupt:
        for (Road& road : roads_)
          if (road.line.from == order.site && road.line.to != order.site &&
              (order.other == whole_site || order.other == road.line.to))
            ++road.to_corrupt;
    }
  }
}

void Loop::slow_down(std::size_t site, double factor) {
  const Site& limits = settings_.sites[site];
  slow_[site] = {.factor = factor};
  uplinks_[site] = Queue(limits.up_bps / factor, limits.queue_ns);
  downlinks_[site] = Queue(limits.down_bps / factor, limits.queue_ns);
}

std::vector<Count> Loop::counts() const {
  std::vector<Count> counts;
  for (const Line& line : settings_.lines) {
    const auto at = static_cast<std::size_t>(line.from) * settings_.sites.size() +
                    static_cast<std::size_t>(line.to);
    counts.push_back(roads_[at].count);
  }
  return counts;
}

// The next one to move comes first in a heap ordered by this.
bool Loop::later(const Flight& a, const Flight& b) {
  return a.at_ns != b.at_ns ? a.at_ns > b.at_ns : a.serial > b.serial;
}

void Loop::read_from(std::size_t site) {
  for (int burst = 0; burst < read_burst; ++burst) {
    const ssize_t size = read(settings_.sites[site].device, buffer_.data(), buffer_.size());
    if (size <= 0) return;  // no more now; a dead device shows in poll
    enter(site, static_cast<std::size_t>(size));
    move_due();
  }
}

void Loop::enter(std::size_t site, std::size_t size) {
  const ByteView packet = ByteView(buffer_).first(size);
  const std::optional<Shape> shape = read_shape(packet);
  if (!shape) return;  // IPv6's neighbour talk and the like
  const auto found = site_of_.find(shape->target);
  if (found == site_of_.end() || found->second == site) return;
  Road& road = roads_[site * settings_.sites.size() + found->second];
  const std::int64_t now_ns = clock_.now_ns();
  const Tally whole = size_of(*shape, shape->all());
  add(road.count.sent, whole);
  if (is_cut(road.line, now_ns)) {
    add(road.count.cut, whole);
    return;
  }
  if (road.to_corrupt > 0 && shape->segments() > 1) {
    --road.to_corrupt;
    const Run rest{1, shape->segments()};
    send(road, now_ns, size_of(*shape, {0, 1}), damaged_first(packet, *shape));
    return send(road, now_ns, size_of(*shape, rest), cut_out(packet, *shape, rest));
  }
  const std::vector<std::size_t> lost = road.loss.strike(shape->segments());
  if (lost.empty()) {
    send(road, now_ns, whole, take_buffer(size));
    return;
  }
  for (const std::size_t gone : lost) add(road.count.lost, size_of(*shape, {gone, gone + 1}));
  for (const Run& run : without(shape->segments(), lost))
    send(road, now_ns, size_of(*shape, run), cut_out(packet, *shape, run));
}

// The packet that was just read. A large one takes the buffer along, which is cheaper than a copy.
std::vector<std::byte> Loop::take_buffer(std::size_t size) {
  if (size < large_packet)
    return {buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(size)};
  std::vector<std::byte> packet = std::move(buffer_);
  packet.resize(size);
  if (spare_.empty()) {
    buffer_ = std::vector<std::byte>(largest_packet);
  } else {
    buffer_ = std::move(spare_.back());
    spare_.pop_back();
    buffer_.resize(largest_packet);
  }
  return packet;
}

void Loop::send(Road& road, std::int64_t now_ns, Tally size, std::vector<std::byte> packet) {
  std::optional<std::int64_t> at_ns;
  if (held_bytes_ + packet.size() <= most_held_bytes) {
    at_ns = uplinks_[static_cast<std::size_t>(road.line.from)].pass(now_ns, size.bytes);
    if (at_ns) at_ns = road.queue.pass(*at_ns, size.bytes);
  }
  if (!at_ns) {
    add(road.count.dropped, size);
    return;
  }
  held_bytes_ += packet.size();
  add(road.count.held, size);
  const double slower = std::max(slow_[static_cast<std::size_t>(road.line.from)].factor,
                                 slow_[static_cast<std::size_t>(road.line.to)].factor);
  const auto delay_ns = static_cast<std::int64_t>(static_cast<double>(road.line.delay_ns) * slower);
  push({.at_ns = *at_ns + delay_ns,
        .serial = serial_++,
        .road = &road,
        .size = size,
        .packet = std::move(packet)});
}

void Loop::push(Flight flight) {
  flights_.push_back(std::move(flight));
  std::push_heap(flights_.begin(), flights_.end(), later);
}

void Loop::move_due() {
  while (!flights_.empty() && flights_.front().at_ns <= clock_.now_ns()) {
    std::pop_heap(flights_.begin(), flights_.end(), later);
    Flight flight = std::move(flights_.back());
    flights_.pop_back();
    if (flight.before_downlink) {
      flight.before_downlink = false;
      const std::int64_t arrives_ns = flight.at_ns;
      Queue& downlink = downlinks_[static_cast<std::size_t>(flight.road->line.to)];
      if (const auto at_ns = downlink.pass(arrives_ns, flight.size.bytes); !at_ns) {
        flight.at_ns = never_ns;  // the queue is full
      } else if (*at_ns > arrives_ns) {
        flight.at_ns = *at_ns;
        push(std::move(flight));
        continue;
      }
    }
    deliver(flight);
  }
}

void Loop::deliver(Flight& flight) {
  Count& count = flight.road->count;
  held_bytes_ -= flight.packet.size();
  count.held.segments -= flight.size.segments;
  count.held.bytes -= flight.size.bytes;
  const Line& line = flight.road->line;
  const int device = settings_.sites[static_cast<std::size_t>(line.to)].device;
  if (flight.at_ns == never_ns) {
    add(count.dropped, flight.size);
  } else if (is_cut(line, clock_.now_ns())) {
    add(count.cut, flight.size);
  } else if (write(device, flight.packet.data(), flight.packet.size()) < 0) {
    add(count.dropped, flight.size);
  } else {
    add(count.delivered, flight.size);
  }
  if (flight.packet.size() >= large_packet && spare_.size() < most_spare)
    spare_.push_back(std::move(flight.packet));
}

bool Loop::is_cut(const Line& line, std::int64_t now_ns) const {
  const std::int64_t at_ns = now_ns - begin_ns_;
  return std::any_of(settings_.cuts.begin(), settings_.cuts.end(), [&](const Cut& cut) {
    if (at_ns < cut.after_ns || at_ns - cut.after_ns >= cut.length_ns) return false;
    if (cut.other == whole_site) return cut.site == line.from || cut.site == line.to;
    return (cut.site == line.from && cut.other == line.to) ||
           (cut.site == line.to && cut.other == line.from);
  });
}

}  // namespace isthmus::wan
