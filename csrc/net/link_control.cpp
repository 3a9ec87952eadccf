// Link's control stream when it breaks: another one is taken, if the peer lives.
#include <algorithm>
#include <utility>

#include "net/link.hpp"

namespace isthmus {
namespace {

constexpr int most_controls = 16;  // new ones within a minute

}  // namespace

// A peer that leaves has ended it; of one that this site leaves nothing more is needed.
Status Link::lose_control(const Status& why, std::int64_t now_ns) {
  const bool broke = why.code == Code::peer_lost || control_.damaged();
  if (!broke || peer_leaves_ || said_goodbye_) return why;
  control_.drop();
  if (without_control_ns_ != never_ns) return {};  // the one that was to replace it
  without_control_ns_ = now_ns;
  control_missed_ = false;
  control_lost_ = why;
  ++stats_.streams_broken;
  breaks_.push_back(why.text);
  say_alive();
  return {};
}

// A process that dies takes all its connections along, at about the same time.
Status Link::mind_control(std::int64_t now_ns) {
  if (without_control_ns_ == never_ns) return {};
  const bool alone = std::ranges::any_of(data_, &DataStream::carries);
  if (!alone || said_goodbye_ || now_ns >= alive_until_ns()) return control_lost_;
  if (new_controls_ > most_controls)
    return peer_lost("its control connection breaks again and again");
  control_missed_ = now_ns >= without_control_ns_ + grace_ns();
  return {};
}

// Half as long as else: a data stream that is quiet shows nothing of its peer's death, and the
// others of its peers, who may see it at once, are to hear of it before they take sides.
std::int64_t Link::alive_until_ns() const {
  const std::int64_t timeout_ns = options_.heartbeat_timeout_ns;
  return std::min(std::max(without_control_ns_, last_data_ns_) + timeout_ns / 2,
                  without_control_ns_ + timeouts_without * timeout_ns);
}

std::int64_t Link::control_due_ns() const {
  if (without_control_ns_ == never_ns) return never_ns;
  if (said_goodbye_) return 0;
  if (!control_missed_) return without_control_ns_ + grace_ns();
  return alive_until_ns();
}

// Heartbeats go by the data streams where there is no other one.
void Link::say_alive() {
  if (control_.stands()) return control(Kind::heartbeat, 0, {});
  for (DataStream& data : data_)
    if (data.carries()) data.greets = data.asks = true;
  more_ = true;
}

bool Link::lacks_control() const {
  return !over() && control_missed_ && without_control_ns_ != never_ns && !control_.has_stream();
}

bool Link::add_control(std::unique_ptr<Stream> stream, bool dialled) {
  if (over() || (dialled && control_.stands())) return false;
  if (dialled)
    control_.take_over(std::move(stream), options_.stamp);
  else
    control_.offer(std::move(stream));
  return true;
}

// Another one stands; the peer may have missed the one before first.
void Link::note_control() {
  if (control_streams_ == control_.streams()) return;
  control_streams_ = control_.streams();
  if (std::exchange(without_control_ns_, never_ns) == never_ns) {
    ++stats_.streams_broken;
    breaks_.push_back("the other end has lost it");
  }
  ++stats_.streams_replaced;
  ++new_controls_;
}

}  // namespace isthmus
