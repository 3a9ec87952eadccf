#include "simulation/sums.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "base/check.hpp"
#include "simulation/inputs.hpp"

namespace isthmus {
namespace {

constexpr double f32_rounding = 1.0 / (1 << 23);

// Values are below 1, and no codec moves one by more than the largest of its block (int2 makes the
// only one of a block half as large again): of a sum that is encoded at every hop, each may double.
double bound_of(bool exact, double roundings) {
  return exact ? f32_rounding * roundings : std::exp2(roundings);
}

struct Sums {
  std::vector<float> result;
  std::vector<double> bound;  // of what else a ring's roundings may make of it
};

struct Term {
  const std::vector<float>& values;
  float weight;
  bool first;
};

void add_wire(const std::vector<Segment>& segments, const Term& term, double roundings,
              Sums& sums) {
  const Format format(segments);
  const std::vector<std::byte> wire = encoded(segments, term.values);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    const std::uint64_t bytes = codecs::wire_size(*segment.up, segment.elements);
    const auto part = std::span(sums.result).subspan(begin, segment.elements);
    const auto of_segment = std::span(wire).subspan(format.offsets()[i], bytes);
    if (term.first) {
      ISTHMUS_CHECK(codecs::decode(*segment.up, of_segment, part));
      for (float& value : part) value *= term.weight;
    } else {
      ISTHMUS_CHECK(codecs::decode_add(*segment.up, of_segment, term.weight, part));
    }
    const bool exact = segment.up->identity && segment.down->identity;
    for (std::size_t k = begin; k < begin + segment.elements; ++k)
      sums.bound[k] += bound_of(exact, roundings) * static_cast<double>(term.weight);
    begin += segment.elements;
  }
}

// Encoded and decoded once more.
void pass_down(const std::vector<Segment>& segments, std::span<float> rest) {
  for (const Segment& segment : segments) {
    const std::span<float> part = rest.first(segment.elements);
    std::vector<std::byte> wire(codecs::wire_size(*segment.down, segment.elements));
    codecs::encode(*segment.down, part, wire);
    ISTHMUS_CHECK(codecs::decode(*segment.down, wire, part));
    rest = rest.subspan(segment.elements);
  }
}

// What a schedule must end with: every site's wire decoded, added in roster order with every step
// rounded to float32, and encoded and decoded once more on the way down of `direct`.
Sums add_up(const WorldPlan& plan, std::size_t index, const std::vector<int>& sites) {
  const OperationPlan& operation = plan.operations[index];
  const std::vector<Segment> segments = segments_of(operation);
  const auto weight_of = [&](int site) {
    return operation.weights[static_cast<std::size_t>(site)];
  };
  const bool equal =
      std::ranges::all_of(sites, [&](int s) { return weight_of(s) == weight_of(sites.front()); });
  float divisor = 0;
  Sums sums{std::vector<float>(operation.elements), std::vector<double>(operation.elements)};
  for (const int site : sites) {
    const float weight = operation.mean && equal ? 1.0F : weight_of(site);
    divisor += weight;
    add_wire(segments,
             {.values = drawn_floats(plan, index, site),
              .weight = weight,
              .first = site == sites.front()},
             static_cast<double>(sites.size() + 1), sums);
  }
  if (operation.mean) {
    for (float& value : sums.result) value /= divisor;
    for (double& value : sums.bound) value /= static_cast<double>(divisor);
  }
  if (operation.algorithm == Algorithm::direct && sites.size() > 1)
    pass_down(segments, sums.result);
  return sums;
}

std::string said(const OperationPlan& operation, std::size_t element, double got, double expected,
                 double bound) {
  std::array<char, 128> text;
  std::snprintf(text.data(), text.size(), " is wrong at element %zu: %.9g, not %.9g within %.3g (",
                element, got, expected, bound);
  std::string codecs;
  for (const SegmentPlan& segment : operation.segments)
    codecs += (codecs.empty() ? "" : ", ") + std::to_string(segment.elements) + " " + segment.up +
              "/" + segment.down;
  return text.data() + codecs + ")";
}

std::string wrong_sum(const WorldPlan& plan, std::size_t index, const std::vector<int>& sites,
                      const std::vector<std::byte>& result) {
  const OperationPlan& operation = plan.operations[index];
  const Sums sums = add_up(plan, index, sites);
  if (result.size() != sums.result.size() * sizeof(float)) return " is short";
  if (operation.algorithm != Algorithm::ring &&
      std::memcmp(result.data(), sums.result.data(), result.size()) != 0)
    return " is not the roster-order sum of the wires to the bit";
  for (std::size_t i = 0; i < sums.result.size(); ++i) {
    const auto got = load<float>(result.data() + i * sizeof(float));
    const auto expected = static_cast<double>(sums.result[i]);
    if (!(std::abs(static_cast<double>(got) - expected) <= sums.bound[i]))
      return said(operation, i, got, expected, sums.bound[i]);
  }
  return "";
}

}  // namespace

std::string wrong_in(const WorldPlan& plan, std::size_t index, const std::vector<int>& contributors,
                     const std::vector<std::byte>& result) {
  const OperationPlan& operation = plan.operations[index];
  if (operation.collective == Collective::all_reduce)
    return wrong_sum(plan, index, contributors, result);
  std::vector<std::byte> expected;
  const std::vector<int> ranks = plan.ranks();
  for (const int site : contributors) {
    const bool root = ranks[static_cast<std::size_t>(site)] == operation.root;
    const bool rooted =
        operation.collective == Collective::broadcast || operation.collective == Collective::hand;
    if (rooted && !root) continue;
    const auto bytes = drawn_bytes(plan, index, site);
    expected.insert(expected.end(), bytes.begin(), bytes.end());
  }
  return result == expected ? "" : " has wrong bytes";
}

}  // namespace isthmus
