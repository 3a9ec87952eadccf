#include "simulation/inputs.hpp"

#include "base/check.hpp"
#include "base/random.hpp"
#include "codecs/codec.hpp"

namespace isthmus {
namespace {

Random random_for(const WorldPlan& plan, std::size_t operation, int site) {
  return Random(mix(mix(plan.seed) + operation * 64 + static_cast<std::uint64_t>(site)));
}

}  // namespace

std::vector<Segment> segments_of(const OperationPlan& operation) {
  std::vector<Segment> segments;
  for (const SegmentPlan& segment : operation.segments) {
    const codecs::Codec* up = codecs::find(segment.up);
    const codecs::Codec* down = codecs::find(segment.down);
    ISTHMUS_CHECK(up != nullptr && down != nullptr);
    segments.push_back({.up = up, .down = down, .elements = segment.elements});
  }
  return segments;
}

std::vector<std::byte> encoded(const std::vector<Segment>& segments,
                               std::span<const float> values) {
  const Format format(segments);
  std::vector<std::byte> wire(format.input_bytes());
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    const std::uint64_t bytes = codecs::wire_size(*segment.up, segment.elements);
    codecs::encode(*segment.up, values.first(segment.elements),
                   std::span(wire).subspan(format.offsets()[i], bytes));
    values = values.subspan(segment.elements);
  }
  return wire;
}

std::vector<float> drawn_floats(const WorldPlan& plan, std::size_t operation, int site) {
  Random random = random_for(plan, operation, site);
  std::vector<float> values(plan.operations[operation].elements);
  for (float& value : values) value = static_cast<float>(random.unit() * 2 - 1);
  return values;
}

std::vector<std::byte> drawn_bytes(const WorldPlan& plan, std::size_t operation, int site) {
  Random random = random_for(plan, operation, site);
  std::vector<std::byte> bytes(plan.operations[operation].elements);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
  return bytes;
}

Request reduction_of(const OperationPlan& operation, float weight, std::vector<float> values,
                     bool odd, Reduction& memory) {
  Request request;
  request.collective = Collective::all_reduce;
  request.segments = segments_of(operation);
  if (odd) ++request.segments.back().elements;
  memory.values = std::move(values);
  memory.values.resize(operation.elements + (odd ? 1 : 0));
  request.output = std::as_writable_bytes(std::span(memory.values));
  request.input = request.output;
  if (request.segments.size() > 1 || !request.segments[0].up->identity) {
    memory.wire = encoded(request.segments, memory.values);
    request.input = memory.wire;
  }
  request.mean = operation.mean;
  request.weight = weight;
  request.algorithm = operation.algorithm;
  request.shares = operation.shares;
  request.order = operation.order;
  request.slice_elements = operation.slice_elements;
  return request;
}

}  // namespace isthmus
