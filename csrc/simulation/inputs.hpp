// Inputs: what each site of a world brings to an operation, drawn by the world's seed.
#pragma once

#include <span>
#include <vector>

#include "collective/format.hpp"
#include "session/request.hpp"
#include "simulation/plan.hpp"

namespace isthmus {

// What an all_reduce asks for, and the input of a site with these values.
std::vector<Segment> segments_of(const OperationPlan& operation);
std::vector<std::byte> encoded(const std::vector<Segment>& segments, std::span<const float> values);

// The data of one site for one operation.
std::vector<float> drawn_floats(const WorldPlan& plan, std::size_t operation, int site);
std::vector<std::byte> drawn_bytes(const WorldPlan& plan, std::size_t operation, int site);

// A caller's memory in an all_reduce; it stays until the work is done.
struct Reduction {
  std::vector<float> values;    // in, where nothing is encoded; out
  std::vector<std::byte> wire;  // else: in
};

// `odd`: of one element more than the operation's.
Request reduction_of(const OperationPlan& operation, float weight, std::vector<float> values,
                     bool odd, Reduction& memory);

}  // namespace isthmus
