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

void Link::add(std::unique_ptr<Stream> stream, bool dialled) {
  DataStream data;
  data.stream = std::move(stream);
  data.greets = dialled;
  data.unproven = !dialled;
  data_.push_back(std::move(data));
  share_unsent();
}

void Link::keep(int count) {
  int more = streams() - count;
  for (auto data = data_.rbegin(); more > 0 && data != data_.rend(); ++data)
    if (!std::exchange(data->leaves, true)) --more;
  share_unsent();
}

int Link::streams() const {
  return static_cast<int>(
      std::ranges::count_if(data_, [](const DataStream& d) { return !d.leaves; }));
}

void Link::share_unsent() {
  for (DataStream& data : data_) data.stream->keep_unsent(unsent_bytes / std::max(streams(), 1));
}

// The first word on a stream that was added, or the last on one that goes.
Status Link::hear_of_stream(DataStream& data, const Header& header) {
  if (header.length != 0) return wire_error("it sent a control frame on a data stream");
  data.got = 0;
  if (header.kind == Kind::heartbeat && std::exchange(data.unproven, false)) return {};
  if (header.kind != Kind::goodbye) return wire_error("it sent a control frame on a data stream");
  data.last_heard = true;
  data.leaves = true;
  share_unsent();
  return streams() > 0 ? Status{} : wire_error("it took the last data stream away");
}

// What streams have carried stays in the books when they are gone.
void Link::forget_gone() {
  std::erase_if(data_, [this](const DataStream& data) {
    if (!data.gone()) return false;
    const PathInfo path = data.stream->path();
    gone_.retransmits += path.retransmits;
    gone_.segments += path.segments;
    gone_.bytes_acked += path.bytes_acked;
    gone_.bytes_delivered += path.bytes_delivered;
    gone_.busy_ns = std::max(gone_.busy_ns, path.busy_ns);
    return true;
  });
}

}  // namespace isthmus
