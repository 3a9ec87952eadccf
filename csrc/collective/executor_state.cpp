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

// How every refusal of a slice begins.
std::string slice_from(int peer, SliceId id) {
  return "rank " + std::to_string(peer) + " sent a slice of transfer " + number(id.transfer) +
         " at offset " + number(id.offset);
}

}  // namespace

Executor::State::State(Job job, ByteView input, std::span<float> output, ByteSpan terms,
                       SliceBuffers& buffers, Workers& workers)
    : job_(std::move(job)),
      input_(input),
      output_(output),
      terms_(terms),
      buffers_(buffers),
      buffer_bytes_(job_.format.largest_slice_bytes(job_.slice_elements)),
      workers_(workers),
      peers_(index(job_.world)) {
  ISTHMUS_CHECK(job_.world >= 1 && job_.rank >= 0 && job_.rank < job_.world);
  ISTHMUS_CHECK(job_.slice_elements > 0);
  ISTHMUS_CHECK(output_.size() == job_.format.elements());
  ISTHMUS_CHECK(input_.size() == job_.format.input_bytes());
  if (job_.terms) {
    ISTHMUS_CHECK(terms_.size() == job_.terms->bytes());
    write_padding(*job_.terms, terms_);
  }
  add_receives();
  add_sums();
  add_sends();
}

const codecs::Codec& Executor::State::codec_of(const Receive& receive, const Slice& slice) const {
  const Segment& segment = job_.format.segment(slice);
  return receive.role == Role::result ? *segment.down : *segment.up;
}

const codecs::Codec& Executor::State::codec_of(const Sum& sum, const Slice& slice) const {
  const Segment& segment = job_.format.segment(slice);
  return sum.kind == Sum::Kind::total ? *segment.down : *segment.up;
}

void Executor::State::add_receives() {
  for (const Receive& receive : job_.schedule.receives) {
    const bool finished = receive.role == Role::result || receive.role == Role::copy;
    if (finished) elements_to_finish_ += receive.span.count;
    Incoming incoming{.what = receive};
    for (const Slice& slice : slices_of(receive.span)) {
      const bool in_output = finished && !job_.terms && codec_of(receive, slice).identity;
      incoming.slices.push_back({.slice = slice, .in_output = in_output});
    }
    Peer& peer = peers_[index(receive.peer)];
    if (peer.receives.size() <= receive.transfer) peer.receives.resize(receive.transfer + 1, -1);
    peer.receives[receive.transfer] = static_cast<int>(incoming_.size());
    peer.slices_to_come += incoming.slices.size();
    incoming_.push_back(std::move(incoming));
  }
}

void Executor::State::add_sums() {
  for (const Sum& sum : job_.schedule.sums) {
    if (sum.kind != Sum::Kind::partial) elements_to_finish_ += sum.span.count;
    Adding adding{.what = sum};
    for (const Slice& slice : slices_of(sum.span)) adding.slices.push_back({.slice = slice});
    for (std::size_t i = 0; i < sum.terms.size(); ++i) {
      if (sum.terms[i] == Sum::own_input) {
        input_slices_to_add_ += adding.slices.size();
        continue;
      }
      Incoming& incoming = incoming_[index(sum.terms[i])];
      ISTHMUS_CHECK(incoming.what.span == sum.span);
      incoming.sum = static_cast<int>(sums_.size());
      // The accumulator begins as the first term, so that term may as well come to lie there.
      for (InSlice& in : incoming.slices) {
        in.in_output = i == 0 && codec_of(incoming.what, in.slice).identity;
      }
    }
    sums_.push_back(std::move(adding));
  }
}

void Executor::State::add_sends() {
  for (std::size_t i = 0; i < job_.schedule.sends.size(); ++i) {
    const Send& send = job_.schedule.sends[i];
    const int number = static_cast<int>(i);
    if (send.source == Source::input) {
      for (const Slice& slice : slices_of(send.span)) {
        peers_[index(send.peer)].inputs.push_back({.send = number, .slice = slice});
        ++input_slices_to_send_;
        ++slices_to_send_;
      }
    } else if (send.source == Source::sum) {
      Adding& adding = sums_[index(send.from)];
      ISTHMUS_CHECK(adding.what.span == send.span);
      adding.sends.push_back(number);
      slices_to_send_ += adding.slices.size();
    } else {
      Incoming& incoming = incoming_[index(send.from)];
      ISTHMUS_CHECK(incoming.what.span == send.span);
      incoming.sends.push_back(number);
      slices_to_send_ += incoming.slices.size();
    }
  }
}

void Executor::State::begin_weights(std::vector<float> weights) {
  const bool equal = std::all_of(weights.begin(), weights.end(),
                                 [&weights](float weight) { return weight == weights.front(); });
  const bool plain = weights.empty() || (job_.mean && equal);
  weights_ = plain ? std::vector<float>(index(job_.world), 1.0F) : std::move(weights);
  if (job_.mean) divisor_ = std::accumulate(weights_.begin(), weights_.end(), 0.0F);
  term_sum_ = gathers_terms() ? TermSum{weights_, divisor_} : TermSum{{1.0F}, 1.0F};
}

void Executor::State::start(std::vector<float> weights) {
  ISTHMUS_CHECK(!started_ && (weights.empty() || weights.size() == index(job_.world)));
  begin_weights(std::move(weights));
  started_ = true;
  if (input_slices_to_add_ > 0 || gathers_terms()) {
    if (const int odd = job_.format.malformed(input_); odd >= 0) {
      const Segment& segment = job_.format.segments()[index(odd)];
      health_ = refused("this rank's input: segment " + std::to_string(odd) + " is malformed as " +
                            std::string(segment.up->name),
                        job_.rank);
      return;
    }
  }
  if (gathers_terms()) {
    std::ranges::copy(input_, terms_.subspan(job_.terms->stride * index(job_.rank)).begin());
  }
  for (std::size_t sum = 0; sum < sums_.size(); ++sum) {
    for (std::size_t slice = 0; slice < sums_[sum].slices.size(); ++slice) {
      advance(static_cast<int>(sum), slice);
    }
  }
}

bool Executor::State::has_next(int peer) const {
  const Peer& to = peers_[index(peer)];
  return to.input < to.inputs.size() || !to.ready.empty();
}

std::optional<OutSlice> Executor::State::next(int peer, First first) {
  Peer& to = peers_[index(peer)];
  const bool sums_wait = first == First::sums && !to.ready.empty();
  if (to.input < to.inputs.size() && !sums_wait) return out_slice(to.inputs[to.input++]);
  if (to.ready.empty()) return std::nullopt;
  const Ready ready = to.ready.front();
  to.ready.pop_front();
  return out_slice(ready);
}

OutSlice Executor::State::out_slice(const Waiting& waiting) const {
  const Send& send = job_.schedule.sends[index(waiting.send)];
  std::array<codecs::Piece, codecs::max_sections> pieces;
  OutSlice out{.id = {send.transfer, waiting.slice.span.begin - send.span.begin},
               .of_input = true,
               .send = waiting.send};
  out.pieces = job_.format.pieces(waiting.slice, pieces);
  for (std::size_t i = 0; i < index(out.pieces); ++i) {
    out.bytes[i] = input_.subspan(pieces[i].offset, pieces[i].bytes);
  }
  out.elements = waiting.slice.span.count;
  return out;
}

OutSlice Executor::State::out_slice(const Ready& ready) const {
  const Send& send = job_.schedule.sends[index(ready.send)];
  const auto fill = [&](const auto& kept, const codecs::Codec& codec) {
    const Slice& slice = kept.slice;
    const ByteView bytes = kept.buffer ? ByteView(kept.buffer.get(), wire_bytes(codec, slice))
                                       : std::as_bytes(output_of(slice));
    const SliceId id{send.transfer, slice.span.begin - send.span.begin};
    return OutSlice{.id = id,
                    .pieces = 1,
                    .bytes = {bytes},
                    .send = ready.send,
                    .slice = ready.slice,
                    .elements = slice.span.count};
  };
  if (send.source == Source::sum) {
    const Adding& adding = sums_[index(send.from)];
    return fill(adding.slices[ready.slice],
                codec_of(adding.what, adding.slices[ready.slice].slice));
  }
  const Incoming& incoming = incoming_[index(send.from)];
  return fill(incoming.slices[ready.slice],
              codec_of(incoming.what, incoming.slices[ready.slice].slice));
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
  const auto done_with = [this](auto& read) {
    if (--read.readers == 0) read.buffer.reset();
  };
  if (send.source == Source::sum) {
    done_with(sums_[index(send.from)].slices[out.slice]);
  } else {
    done_with(incoming_[index(send.from)].slices[out.slice]);
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
  const auto begin_of = [&](const InSlice& in) {
    return in.slice.span.begin - incoming.what.span.begin;
  };
  const auto found = std::ranges::lower_bound(incoming.slices, id.offset, {}, begin_of);
  if (found == incoming.slices.end() || begin_of(*found) != id.offset) {
    return wire_error(slice_from(peer, id) + ": no slice begins there", peer);
  }
  return Position{receives[id.transfer], &incoming,
                  static_cast<std::size_t>(found - incoming.slices.begin())};
}

// A slice that may come now, and has the size that it must have.
Result<Executor::State::Position> Executor::State::expect(int peer, SliceId id,
                                                          std::uint64_t bytes) {
  const Result<Position> found = find(peer, id);
  if (!found.ok()) return found;
  const InSlice& in = found->slice();
  const std::uint64_t expected = wire_bytes(codec_of(found->incoming->what, in.slice), in.slice);
  if (bytes != expected) {
    return wire_error(
        slice_from(peer, id) + " with " + number(bytes) + " bytes: expected " + number(expected),
        peer);
  }
  if (in.stage != Stage::awaited) {
    return wire_error(slice_from(peer, id) + ": expected it once, got it again", peer);
  }
  return found;
}

Result<ByteSpan> Executor::State::place(int peer, SliceId id, std::uint64_t bytes) {
  const Result<Position> found = expect(peer, id, bytes);
  if (!found.ok()) return found.status();
  InSlice& in = found->slice();
  in.stage = Stage::placed;
  if (in.in_output) return std::as_writable_bytes(output_of(in.slice));
  in.buffer = buffers_.take(buffer_bytes_);
  return ByteSpan(in.buffer.get(), bytes);
}

Status Executor::State::take(int peer, SliceId id, Buffer wire, std::uint64_t bytes) {
  const Result<Position> found = expect(peer, id, bytes);
  if (!found.ok()) return found.status();
  InSlice& in = found->slice();
  in.stage = Stage::placed;
  if (in.in_output) {
    std::copy_n(wire.get(), bytes, std::as_writable_bytes(output_of(in.slice)).begin());
  } else {
    in.buffer = std::move(wire);
  }
  return arrived(peer, id);
}

Status Executor::State::arrived(int peer, SliceId id) {
  const Result<Position> found = find(peer, id);
  if (!found.ok()) return found.status();
  InSlice& in = found->slice();
  if (in.stage != Stage::placed) {
    return wire_error(
        slice_from(peer, id) + (in.stage == Stage::awaited ? ": expected to place it first"
                                                           : ": expected it once, got it again"),
        peer);
  }
  in.stage = Stage::arrived;
  --peers_[index(peer)].slices_to_come;
  if (Status form = check_form(*found, id); !form.ok()) return fail(form);
  if (!health_.ok()) return {};
  if (found->incoming->sum < 0) {
    take_result(found->number, found->index);
  } else if (started_) {
    advance(found->incoming->sum, found->index);
  }
  return {};
}

Status Executor::State::check_form(const Position& position, SliceId id) {
  const InSlice& in = position.slice();
  if (in.in_output) return {};  // any bytes are floats
  const Receive& what = position.incoming->what;
  const codecs::Codec& codec = codec_of(what, in.slice);
  const ByteView wire(in.buffer.get(), wire_bytes(codec, in.slice));
  if (codecs::valid(codec, wire, in.slice.span.count)) return {};
  return wire_error(slice_from(what.peer, id) + ": malformed as " + std::string(codec.name),
                    what.peer);
}

void Executor::State::compute(const Slice& slice, Workers::Call work, Workers::Call then) {
  const Segment& segment = job_.format.segment(slice);
  const bool only_adds = segment.up->identity && segment.down->identity;
  if (only_adds || slice.span.count < job_.least_work_elements) {
    work();
    return then();
  }
  ++works_under_way_;
  workers_.post(std::move(work), [this, then = std::move(then)] {
    --works_under_way_;
    then();
  });
}

void Executor::State::take_result(int number, std::size_t position) {
  Incoming& incoming = incoming_[index(number)];
  const InSlice& in = incoming.slices[position];
  if (in.in_output) return result_stands(incoming, position);
  const codecs::Codec& codec = codec_of(incoming.what, in.slice);
  const ByteView wire(in.buffer.get(), wire_bytes(codec, in.slice));
  if (job_.terms) {
    keep_term(incoming.what.peer, in.slice, wire);
    return result_stands(incoming, position);
  }
  const std::span<float> result = output_of(in.slice);
  compute(
      in.slice,
      [&codec, wire, result] { codecs::decode_part(codec, wire, result.size(), 0, result); },
      [this, number, position] { result_stands(incoming_[index(number)], position); });
}

void Executor::State::result_stands(Incoming& incoming, std::size_t position) {
  InSlice& in = incoming.slices[position];
  elements_to_finish_ -= in.slice.span.count;
  in.readers = static_cast<int>(incoming.sends.size());
  if (in.readers == 0) in.buffer.reset();
  make_ready(incoming.sends, position);
}

void Executor::State::keep_term(int peer, const Slice& slice, ByteView wire) {
  keep_slice(*job_.terms, gathers_terms() ? peer : 0, slice, wire, terms_);
}

Status Executor::State::fail(Status status) {
  if (health_.ok()) health_ = status;
  return status;
}

bool Executor::State::waits_for(int peer) const {
  return peers_[index(peer)].slices_to_come > 0;
}

}  // namespace isthmus
