// Stream, Listener, Network: one ordered, reliable run of bytes to one peer, and where such streams
// come from.
//
// Nothing here blocks: a call moves what it can now and says how much. TCP (net/tcp.hpp) and the
// simulator (net/sim.hpp) implement the three; everything above them is the same code over both.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/bytes.hpp"
#include "base/status.hpp"

namespace isthmus {

// What the kernel knows about a stream's path; zeros where it is not known.
struct PathInfo {
  std::int64_t rtt_ns = 0;      // smoothed
  std::int64_t min_rtt_ns = 0;  // the least of late
  std::int64_t retransmits = 0;
  std::int64_t segments = 0;  // with data, sent again or not
  std::uint64_t bytes_acked = 0;
  std::uint64_t bytes_delivered = 0;  // these, and those behind what is lost; by whole segments
  std::int64_t busy_ns = 0;           // with bytes written that the peer had not acknowledged
  double delivery_bits_per_s = 0;     // as last measured, perhaps long ago
  int segment_bytes = 0;              // the most in one
  std::int64_t window_bytes = 0;      // that both ends' buffers now let be on their way
  std::int64_t congestion_bytes = 0;  // that a congestion control without a model lets
};

class Stream {
 public:
  virtual ~Stream() = default;  // closes

  // Moves bytes from `pieces`, in order, and returns how many; 0 means not now. A stream that is
  // still connecting returns 0. An error is final.
  virtual Result<std::size_t> write(std::span<const ByteView> pieces) = 0;

  // Fills `pieces` in order and returns how many bytes came; 0 means not now. The peer's end of
  // stream and errors are the Status peer_lost, final, after all bytes that came before it.
  virtual Result<std::size_t> read(std::span<const ByteSpan> pieces) = 0;

  // Hints: whether a call is worth trying. Set by the reactor's events, cleared by a call that
  // moved less than asked.
  virtual bool can_read() const = 0;
  virtual bool can_write() const = 0;

  // True once the connection stands.
  virtual bool connected() const = 0;

  // Whether the peer has ended or lost it, as far as is known here; bytes may be left to read.
  virtual bool ended() const = 0;

  // No more writes from us; the peer reads what was written and then the end.
  virtual void shut_write() = 0;

  // The kernel, if there is one, keeps about so much at most that it has not sent yet.
  virtual void keep_unsent(int) {}

  virtual PathInfo path() const { return {}; }

  // "10.0.0.2:7000": for messages.
  virtual std::string peer_address() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual std::unique_ptr<Stream> accept() = 0;  // nullptr: nobody now
  virtual std::string address() const = 0;       // with the port that was taken
};

class Network {
 public:
  virtual ~Network() = default;
  // `address` is "host:port". Begins to connect; failures may come here or from the first reads and
  // writes.
  virtual Result<std::unique_ptr<Stream>> connect(const std::string& address) = 0;
  virtual Result<std::unique_ptr<Listener>> listen(const std::string& address) = 0;
};

}  // namespace isthmus
