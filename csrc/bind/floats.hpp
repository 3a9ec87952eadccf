// What the bindings of arithmetic share: arrays as spans, and implementations by name.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "codecs/codec.hpp"
#include "dp/clip_noise/clip_noise.hpp"

namespace isthmus {

// Names of codecs::Isa that this machine has, plainest first.
std::vector<std::string> offered_implementations();
std::string listed(const std::vector<std::string>& names);

// No name: the best. Raises ValueError for one that this machine does not have.
codecs::Isa isa_named(const std::optional<std::string>& implementation);

// Raise TypeError or ValueError, naming `what`.
void check_floats(const pybind11::array& array, const char* what);
void check_writeable(const pybind11::array& array, const char* what);

std::span<const float> floats(const pybind11::array& array);
std::span<float> writeable_floats(pybind11::array& array);

// (factor, spread, key, step, bucket, stream[, group]).
dp::Noise noise_of(const pybind11::tuple& values);

}  // namespace isthmus
