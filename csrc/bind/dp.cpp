// Clip and noise in Python, and what its binding shares with the codecs'.
#include <pybind11/stl.h>

#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

#include "bind/floats.hpp"
#include "bind/module.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using codecs::Isa;
using OptionalName = std::optional<std::string>;

constexpr std::pair<std::string_view, Isa> implementations[] = {
    {"portable", Isa::portable}, {"avx2", Isa::avx2}, {"avx512", Isa::avx512}};

double sum_of_squares(const py::array& x) {
  check_floats(x, "x");
  const std::span<const float> values = floats(x);
  const py::gil_scoped_release released;
  return dp::sum_of_squares(values);
}

float clip_factor(double squares, double norm) {
  if (!(norm > 0 && std::isfinite(norm)))
    throw py::value_error("norm must be a number above 0, not " + std::to_string(norm));
  return dp::factor(squares, norm);
}

py::array clip_noise(const py::array& x, const py::tuple& values, std::optional<py::array> out,
                     const OptionalName& implementation) {
  check_floats(x, "x");
  if (!out) out = py::array_t<float>(x.size());
  check_floats(*out, "out");
  check_writeable(*out, "out");
  if (out->size() != x.size())
    throw py::value_error("out has " + std::to_string(out->size()) + " elements, not " +
                          std::to_string(x.size()));
  const dp::Noise noise = noise_of(values);
  const Isa isa = isa_named(implementation);
  {
    const std::span<float> to = writeable_floats(*out);
    const std::span<const float> from = floats(x);
    const py::gil_scoped_release released;
    dp::clip_noise(from, noise, to, isa);
  }
  return *out;
}

}  // namespace

std::vector<std::string> offered_implementations() {
  std::vector<std::string> names;
  for (const auto& [name, isa] : implementations) {
    if (isa <= codecs::best_isa()) names.emplace_back(name);
  }
  return names;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

Isa isa_named(const OptionalName& implementation) {
  if (!implementation) return codecs::best_isa();
  for (const auto& [name, isa] : implementations) {
    if (name == *implementation && isa <= codecs::best_isa()) return isa;
  }
  throw py::value_error("no implementation '" + *implementation +
                        "' on this machine; there are: " + listed(offered_implementations()));
}

void check_floats(const py::array& array, const char* what) {
  if (!array.dtype().equal(py::dtype::of<float>())) {
    throw py::type_error(std::string(what) + " must be float32, not " +
                         py::str(array.dtype()).cast<std::string>());
  }
  if ((array.flags() & py::array::c_style) == 0) {
    throw py::value_error(std::string(what) + " must be C-contiguous");
  }
}

void check_writeable(const py::array& array, const char* what) {
  if (!array.writeable()) throw py::value_error(std::string(what) + " must be writeable");
}

std::span<const float> floats(const py::array& array) {
  return {static_cast<const float*>(array.data()), static_cast<std::size_t>(array.size())};
}

std::span<float> writeable_floats(py::array& array) {
  return {static_cast<float*>(array.mutable_data()), static_cast<std::size_t>(array.size())};
}

dp::Noise noise_of(const py::tuple& values) {
  if (values.size() != 6 && values.size() != 7)
    throw py::value_error("noise is (factor, spread, key, step, bucket, stream) or (..., group)");
  const auto word = [&values](std::size_t i) { return values[i].cast<std::uint32_t>(); };
  const dp::Noise noise{.factor = values[0].cast<float>(),
                        .spread = values[1].cast<float>(),
                        .place = {.key = values[2].cast<std::uint64_t>(),
                                  .group = values.size() == 7 ? word(6) : 0,
                                  .step = word(3),
                                  .bucket = word(4),
                                  .stream = word(5)}};
  if (!(noise.factor >= 0 && noise.factor <= 1))
    throw py::value_error("factor must be from 0 to 1: it is what clip_factor returned");
  if (!(noise.spread >= 0 && std::isfinite(noise.spread)))
    throw py::value_error("spread must be a number of 0 or more");
  return noise;
}

void register_dp(py::module_& m) {
  using py::literals::operator""_a;
  const py::none none;
  m.def("sum_of_squares", &sum_of_squares, "x"_a);
  m.def("clip_factor", &clip_factor, "squares"_a, "norm"_a);
  m.def("clip_noise", &clip_noise, "x"_a, "noise"_a, py::kw_only(), "out"_a = none,
        "implementation"_a = none);
}

}  // namespace isthmus
