#include "collective/executor_state.hpp"

#include <algorithm>
#include <numeric>

#include "base/check.hpp"

namespace isthmus {
namespace {

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

std::size_t index(int value) {
  return static_cast<std::size_t>(value);
}

std::uint64_t slice_buffer_bytes(const Job& job) {
  const std::uint64_t elements = std::min<std::uint64_t>(job.elements, job.slice_elements);
  return std::max(codecs::wire_size(*job.up, elements), codecs::wire_size(*job.down, elements));
}

// How every refusal of a slice begins.
std::string slice_from(int peer, SliceId id) {
  return "rank " + std::to_string(peer) + " sent a slice of transfer " + number(id.transfer) +
         " at offset " + number(id.offset);
}

}  // namespace

Executor::State::State(Job job, ByteView input, std::span<float> output)
    : job_(std::move(job)),
      input_(input),
      output_(output),
      buffers_(slice_buffer_bytes(job_)),
      peers_(index(job_.world)),
      elements_to_finish_(job_.elements) {
  ISTHMUS_CHECK(job_.world >= 1 && job_.rank >= 0 && job_.rank < job_.world);
  ISTHMUS_CHECK(job_.slice_elements > 0 && job_.slice_elements % job_.up->block == 0 &&
                job_.slice_elements % job_.down->block == 0);
  ISTHMUS_CHECK(output_.size() == job_.elements);
  ISTHMUS_CHECK(input_.size() == codecs::wire_size(*job_.up, job_.elements));
  add_receives();
  add_sums();
  add_sends();
}

void Executor::State::add_receives() {
  for (const Receive& receive : job_.schedule.receives) {
    const bool down = receive.role == Role::result;
    const codecs::Codec* codec = down ? job_.down : job_.up;
    const bool finished = down || receive.role == Role::copy;
    Peer& peer = peers_[index(receive.peer)];
    if (peer.receives.size() <= receive.transfer) peer.receives.resize(receive.transfer + 1, -1);
    peer.receives[receive.transfer] = static_cast<int>(incoming_.size());
    peer.slices_to_come += slices_in(receive.span);
    incoming_.push_back({receive, codec, finished && codec->identity, -1, {}, {}});
    incoming_.back().slices.resize(slices_in(receive.span));
  }
}

void Executor::State::add_sums() {
  for (const Sum& sum : job_.schedule.sums) {
    for (std::size_t i = 0; i < sum.terms.size(); ++i) {
      if (sum.terms[i] == Sum::own_input) {
        input_slices_to_add_ += slices_in(sum.span);
        continue;
      }
      Incoming& incoming = incoming_[index(sum.terms[i])];
      ISTHMUS_CHECK(incoming.what.span == sum.span);
      incoming.sum = static_cast<int>(sums_.size());
      // The accumulator begins as the first term, so that term may as well come to lie there.
      if (i == 0) incoming.in_output = incoming.codec->identity;
    }
    sums_.push_back({sum, {}, {}});
    sums_.back().slices.resize(slices_in(sum.span));
  }
}

void Executor::State::add_sends() {
  for (std::size_t i = 0; i < job_.schedule.sends.size(); ++i) {
    const Send& send = job_.schedule.sends[i];
    const int number = static_cast<int>(i);
    const std::size_t slices = slices_in(send.span);
    slices_to_send_ += slices;
    if (send.source == Source::input) {
      peers_[index(send.peer)].inputs.push_back(number);
      input_slices_to_send_ += slices;
    } else if (send.source == Source::sum) {
      ISTHMUS_CHECK(sums_[index(send.from)].what.span == send.span);
      sums_[index(send.from)].sends.push_back(number);
    } else {
      ISTHMUS_CHECK(incoming_[index(send.from)].what.span == send.span);
      incoming_[index(send.from)].sends.push_back(number);
    }
  }
}

std::size_t Executor::State::slices_in(Span span) const {
  const std::uint64_t slice = job_.slice_elements;
  return span.count / slice + (span.count % slice != 0 ? 1 : 0);
}

Span Executor::State::slice_of(Span span, std::size_t slice) const {
  const std::uint64_t begin = slice * job_.slice_elements;
  return {span.begin + begin, std::min<std::uint64_t>(job_.slice_elements, span.count - begin)};
}

void Executor::State::start(std::vector<float> weights) {
  ISTHMUS_CHECK(!started_ && (weights.empty() || weights.size() == index(job_.world)));
  const bool equal = std::all_of(weights.begin(), weights.end(),
                                 [&weights](float weight) { return weight == weights.front(); });
  const bool plain = weights.empty() || (job_.mean && equal);
  weights_ = plain ? std::vector<float>(index(job_.world), 1.0F) : std::move(weights);
  if (job_.mean) divisor_ = std::accumulate(weights_.begin(), weights_.end(), 0.0F);
  started_ = true;
  for (std::size_t sum = 0; sum < sums_.size(); ++sum) {
    for (std::size_t slice = 0; slice < sums_[sum].slices.size(); ++slice) {
      if (!advance(static_cast<int>(sum), slice).ok()) return;
    }
  }
}

bool Executor::State::has_next(int peer) const {
  const Peer& to = peers_[index(peer)];
  return to.input < to.inputs.size() || !to.ready.empty();
}

std::optional<OutSlice> Executor::State::next(int peer) {
  Peer& to = peers_[index(peer)];
  if (to.input < to.inputs.size()) {
    const int send = to.inputs[to.input];
    const OutSlice out = out_slice(send, to.input_slice);
    if (++to.input_slice == slices_in(job_.schedule.sends[index(send)].span)) {
      to.input_slice = 0;
      ++to.input;
    }
    return out;
  }
  if (to.ready.empty()) return std::nullopt;
  const Ready ready = to.ready.front();
  to.ready.pop_front();
  return out_slice(ready.send, ready.slice);
}

OutSlice Executor::State::out_slice(int number, std::size_t slice) const {
  const Send& send = job_.schedule.sends[index(number)];
  const Span span = slice_of(send.span, slice);
  OutSlice out{{send.transfer, slice * job_.slice_elements}, 1, {}, number};
  if (send.source == Source::input) {
    fill_from_input(span, out);
    return out;
  }
  const bool summed = send.source == Source::sum;
  const codecs::Codec& codec =
      summed ? codec_of(sums_[index(send.from)].what) : *incoming_[index(send.from)].codec;
  const Buffer& buffer = summed ? sums_[index(send.from)].slices[slice].buffer
                                : incoming_[index(send.from)].slices[slice].buffer;
  out.bytes[0] =
      buffer ? ByteView(buffer.get(), wire_bytes(codec, span)) : std::as_bytes(output_of(span));
  return out;
}

void Executor::State::fill_from_input(Span span, OutSlice& out) const {
  std::array<codecs::Piece, codecs::max_sections> pieces;
  out.pieces = codecs::pieces(*job_.up, job_.elements, span.begin, span.count, pieces);
  for (std::size_t i = 0; i < index(out.pieces); ++i) {
    out.bytes[i] = input_.subspan(pieces[i].offset, pieces[i].bytes);
  }
}

void Executor::State::make_ready(const std::vector<int>& sends, std::size_t slice) {
  for (const int send : sends) {
    peers_[index(job_.schedule.sends[index(send)].peer)].ready.push_back({send, slice});
  }
}

void Executor::State::sent(const OutSlice& out) {
  ISTHMUS_CHECK(slices_to_send_ > 0);
  --slices_to_send_;
  const Send& send = job_.schedule.sends[index(out.send)];
  if (send.source == Source::input) {
    --input_slices_to_send_;
    return;
  }
  const std::size_t slice = out.id.offset / job_.slice_elements;
  const auto done_with = [this](auto& read) {
    if (--read.readers == 0) buffers_.give_back(std::move(read.buffer));
  };
  if (send.source == Source::sum) {
    done_with(sums_[index(send.from)].slices[slice]);
  } else {
    done_with(incoming_[index(send.from)].slices[slice]);
  }
}

Result<Executor::State::Position> Executor::State::find(int peer, SliceId id) {
  if (peer < 0 || peer >= job_.world) {
    return wire_error(slice_from(peer, id) + ": expected ranks below " + std::to_string(job_.world),
                      peer);
  }
  const std::vector<int>& receives = peers_[index(peer)].receives;
  if (id.transfer >= receives.size() || receives[id.transfer] < 0) {
    return wire_error(slice_from(peer, id) + ": there is no such transfer from it to rank " +
                          std::to_string(job_.rank) + ", expected numbers below " +
                          number(receives.size()),
                      peer);
  }
  Incoming& incoming = incoming_[index(receives[id.transfer])];
  if (id.offset % job_.slice_elements != 0 || id.offset >= incoming.what.span.count) {
    return wire_error(slice_from(peer, id) + ": expected a multiple of " +
                          number(job_.slice_elements) + " below " +
                          number(incoming.what.span.count),
                      peer);
  }
  return Position{&incoming, id.offset / job_.slice_elements};
}

Result<ByteSpan> Executor::State::place(int peer, SliceId id, std::uint64_t bytes) {
  Result<Position> found = find(peer, id);
  if (!found.ok()) return found.status();
  const Incoming& incoming = *found->incoming;
  InSlice& slice = found->incoming->slices[found->slice];
  const Span span = slice_of(incoming.what.span, found->slice);
  const std::uint64_t expected = wire_bytes(*incoming.codec, span);
  if (bytes != expected) {
    return wire_error(
        slice_from(peer, id) + " with " + number(bytes) + " bytes: expected " + number(expected),
        peer);
  }
  if (slice.stage != Stage::awaited) {
    return wire_error(slice_from(peer, id) + ": expected it once, got it again", peer);
  }
  slice.stage = Stage::placed;
  if (incoming.in_output) return std::as_writable_bytes(output_of(span));
  slice.buffer = buffers_.take();
  return ByteSpan(slice.buffer.get(), expected);
}

Status Executor::State::arrived(int peer, SliceId id) {
  Result<Position> found = find(peer, id);
  if (!found.ok()) return found.status();
  Incoming& incoming = *found->incoming;
  InSlice& slice = incoming.slices[found->slice];
  if (slice.stage != Stage::placed) {
    return wire_error(
        slice_from(peer, id) + (slice.stage == Stage::awaited ? ": expected to place it first"
                                                              : ": expected it once, got it again"),
        peer);
  }
  slice.stage = Stage::arrived;
  --peers_[index(peer)].slices_to_come;
  if (incoming.sum >= 0) return started_ ? advance(incoming.sum, found->slice) : Status{};
  return take_result(incoming, found->slice);
}

Status Executor::State::take_result(Incoming& incoming, std::size_t position) {
  InSlice& slice = incoming.slices[position];
  const Span span = slice_of(incoming.what.span, position);
  if (!incoming.in_output) {
    const ByteView wire(slice.buffer.get(), wire_bytes(*incoming.codec, span));
    if (!codecs::decode(*incoming.codec, wire, output_of(span))) {
      const SliceId id{incoming.what.transfer, position * job_.slice_elements};
      return fail(wire_error(slice_from(incoming.what.peer, id) + ": malformed as " +
                                 std::string(incoming.codec->name),
                             incoming.what.peer));
    }
  }
  elements_to_finish_ -= span.count;
  slice.readers = static_cast<int>(incoming.sends.size());
  if (slice.readers == 0) buffers_.give_back(std::move(slice.buffer));
  make_ready(incoming.sends, position);
  return {};
}

Status Executor::State::fail(Status status) {
  if (health_.ok()) health_ = status;
  return status;
}

bool Executor::State::waits_for(int peer) const {
  return peers_[index(peer)].slices_to_come > 0;
}

}  // namespace isthmus
