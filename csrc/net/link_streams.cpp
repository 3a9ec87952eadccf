// Link's data streams that come and go while it lives, and what they share.
#include <algorithm>
#include <utility>

#include "net/link.hpp"

namespace isthmus {
namespace {

// What the kernel holds unsent, in all data streams of a link together: enough to keep the wire
// busy between two wake-ups, little enough that frames wait in our queue, where any stream of the
// link may take them: of what one has taken, another can do nothing.
constexpr int unsent_bytes = 1 << 20;

}  // namespace

DataStream* Link::find(std::uint16_t number) {
  const auto found = std::ranges::find(data_, number, &DataStream::number);
  return found == data_.end() ? nullptr : &*found;
}

bool Link::add(std::unique_ptr<Stream> stream, std::uint16_t number, bool dialled) {
  if (number == 0) return add_control(std::move(stream), dialled);
  const bool known = find(number) != nullptr ||
                     std::ranges::find(broken_, number, &Broken::number) != broken_.end();
  if (known || over() || streams() >= max_streams) return false;
  DataStream data;
  data.stream = std::move(stream);
  data.number = number;
  data.greets = dialled;
  data.unproven = !dialled;
  data.replaces = missing_ > 0;
  if (data.replaces) --missing_, ++stats_.streams_replaced;
  data_.push_back(std::move(data));
  share_unsent();
  return true;
}

void Link::keep(int count) {
  int more = streams() - count;
  for (auto data = data_.rbegin(); more > 0 && data != data_.rend(); ++data)
    if (!std::exchange(data->leaves, true)) --more;
  missing_ = 0;
  share_unsent();
}

int Link::streams() const {
  return static_cast<int>(
      std::ranges::count_if(data_, [](const DataStream& d) { return !d.leaves; }));
}

void Link::share_unsent() {
  for (DataStream& data : data_) data.stream->keep_unsent(unsent_bytes / std::max(streams(), 1));
}

// The first word on a stream that was added, or the last on one that goes; or the peer has no
// control stream, and wants to know whether we live.
Status Link::hear_of_stream(DataStream& data, const Header& header) {
  if (header.length != 0) return wire_error("it sent a control frame on a data stream");
  data.got = 0;
  if (header.kind == Kind::heartbeat) {
    data.greets = data.greets || (header.transfer != 0 && control_.stands());  // an answer
    data.unproven = false;
    return {};
  }
  if (header.kind != Kind::goodbye) return wire_error("it sent a control frame on a data stream");
  data.last_heard = true;
  if (!std::exchange(data.leaves, true)) missing_ = 0;  // the other end wants fewer
  share_unsent();
  return {};
}

// What streams have carried stays in the books when they are gone.
void Link::keep_books_of(const DataStream& data) {
  const PathInfo path = data.stream->path();
  gone_.retransmits += path.retransmits;
  gone_.segments += path.segments;
  gone_.bytes_acked += path.bytes_acked;
  gone_.bytes_delivered += path.bytes_delivered;
  gone_.busy_ns = std::max(gone_.busy_ns, path.busy_ns);
}

void Link::forget_gone() {
  std::erase_if(data_, [this](const DataStream& data) {
    if (!data.gone()) return false;
    if (data.unproven && data.replaces) ++missing_;
    keep_books_of(data);
    return true;
  });
}

}  // namespace isthmus
