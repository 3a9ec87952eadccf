// Codecs in Python: encode, decode and decode_add of arrays, and the table. Every length is checked
// here, because the codecs themselves rely on it.
#include "codecs/codec.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bind/floats.hpp"
#include "bind/module.hpp"
#include "codecs/finite.hpp"
#include "collective/accumulate.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using codecs::Codec;
using codecs::Dither;
using codecs::Feedback;
using codecs::Isa;
using codecs::ResidualType;
using OptionalArray = std::optional<py::array>;
using OptionalName = std::optional<std::string>;

constexpr std::uint64_t most_elements = std::uint64_t{1} << 48;

std::span<const Codec> table(const OptionalName& implementation) {
  return codecs::all(isa_named(implementation));
}

const Codec& named(const std::string& name, const OptionalName& implementation = {}) {
  std::vector<std::string> known;
  for (const Codec& codec : table(implementation)) {
    if (codec.name == name) return codec;
    known.emplace_back(codec.name);
  }
  throw py::value_error("no codec '" + name + "'; known codecs: " + listed(known));
}

std::string shown(const py::array& array) {
  return py::str(array.dtype()).cast<std::string>();
}

// The bytes of any C-contiguous buffer, held for as long as this lives.
class Bytes {
 public:
  explicit Bytes(const py::object& object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes() { PyBuffer_Release(&view_); }

  std::span<const std::byte> get() const {
    return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

std::uint64_t wire_bytes(const Codec& codec, std::uint64_t elements) {
  if (elements > most_elements) {
    throw py::value_error(std::to_string(elements) + " elements are too many for a wire");
  }
  return codecs::wire_size(codec, elements);
}

void check_wire(const Codec& codec, std::uint64_t bytes, std::uint64_t elements) {
  const std::uint64_t expected = wire_bytes(codec, elements);
  if (bytes == expected) return;
  throw py::value_error("a " + std::string(codec.name) + " wire of " + std::to_string(elements) +
                        " elements has " + std::to_string(expected) + " bytes, not " +
                        std::to_string(bytes));
}

void check_form(const Codec& codec, bool well_formed) {
  if (!well_formed) throw py::value_error("malformed " + std::string(codec.name) + " wire");
}

void check_bytes(const py::array& array, const char* what) {
  if (!array.dtype().equal(py::dtype::of<std::uint8_t>())) {
    throw py::type_error(std::string(what) + " must be uint8, not " + shown(array));
  }
  if ((array.flags() & py::array::c_style) == 0) {
    throw py::value_error(std::string(what) + " must be C-contiguous");
  }
}

ResidualType residual_type(const py::array& array, const char* what, py::ssize_t elements) {
  const bool wide = array.dtype().equal(py::dtype::of<float>());
  if (!wide && !array.dtype().equal(py::dtype::of<std::uint16_t>())) {
    throw py::type_error(std::string(what) + " must be float32, or bfloat16 as uint16, not " +
                         shown(array));
  }
  if ((array.flags() & py::array::c_style) == 0) {
    throw py::value_error(std::string(what) + " must be C-contiguous");
  }
  if (array.size() != elements) {
    throw py::value_error(std::string(what) + " has " + std::to_string(array.size()) +
                          " elements, not " + std::to_string(elements));
  }
  return wide ? ResidualType::f32 : ResidualType::bf16;
}

// (key, step, bucket, stream) or (key, step, bucket, stream, group).
Dither dither_of(const Codec& codec, const py::tuple& place) {
  if (!codec.dithers) {
    throw py::value_error("codec '" + std::string(codec.name) + "' has no stochastic rounding");
  }
  if (place.size() != 4 && place.size() != 5) {
    throw py::value_error("dither is (key, step, bucket, stream) or (..., group)");
  }
  const auto word = [&place](std::size_t i) { return place[i].cast<std::uint32_t>(); };
  return {.key = place[0].cast<std::uint64_t>(),
          .group = place.size() == 5 ? word(4) : 0,
          .step = word(1),
          .bucket = word(2),
          .stream = word(3)};
}

Feedback feedback_of(const Codec& codec, py::ssize_t elements, const OptionalArray& residual,
                     py::array& next, float beta) {
  if (!codec.feedback) {
    throw py::value_error("codec '" + std::string(codec.name) + "' takes no error feedback");
  }
  Feedback feedback{.now = nullptr, .next = nullptr, .beta = beta};
  feedback.type = residual_type(next, "next_residual", elements);
  check_writeable(next, "next_residual");
  feedback.next = static_cast<std::byte*>(next.mutable_data());
  if (residual) {
    if (residual_type(*residual, "residual", elements) != feedback.type) {
      throw py::type_error("residual and next_residual must have the same dtype");
    }
    feedback.now = static_cast<const std::byte*>(residual->data());
  }
  return feedback;
}

py::array encode(const std::string& name, const py::array& x, std::optional<py::array> out,
                 const OptionalArray& residual, std::optional<py::array> next, float beta,
                 const std::optional<py::tuple>& place, const std::optional<py::tuple>& noised,
                 const OptionalName& implementation) {
  const Codec& codec = named(name, implementation);
  check_floats(x, "x");
  const auto elements = static_cast<std::uint64_t>(x.size());
  const std::uint64_t bytes = wire_bytes(codec, elements);
  if (!out) out = py::array_t<std::uint8_t>(static_cast<py::ssize_t>(bytes));
  check_bytes(*out, "out");
  check_writeable(*out, "out");
  check_wire(codec, static_cast<std::uint64_t>(out->size()), elements);
  if (residual && !next) throw py::value_error("residual needs next_residual");
  const Feedback feedback =
      next ? feedback_of(codec, x.size(), residual, *next, beta) : Feedback{nullptr, nullptr};
  const Dither dither = place ? dither_of(codec, *place) : Dither{};
  const codecs::Source source{.values = floats(x).data(),
                              .feedback = next ? &feedback : nullptr,
                              .dither = place ? &dither : nullptr};
  const std::span<std::byte> wire(static_cast<std::byte*>(out->mutable_data()), bytes);
  const dp::Noise noise = noised ? noise_of(*noised) : dp::Noise{};
  const Isa isa = isa_named(implementation);
  {
    const py::gil_scoped_release released;
    if (noised) {
      dp::encode_noised(codec, source, noise, elements, wire, isa);
    } else {
      codecs::encode(codec, source, elements, wire);
    }
  }
  return *out;
}

py::array decode(const std::string& name, const py::object& wire, std::uint64_t elements,
                 std::optional<py::array> out, const OptionalName& implementation) {
  const Codec& codec = named(name, implementation);
  const Bytes bytes(wire);
  check_wire(codec, bytes.get().size(), elements);
  if (!out) out = py::array_t<float>(static_cast<py::ssize_t>(elements));
  check_floats(*out, "out");
  check_writeable(*out, "out");
  if (static_cast<std::uint64_t>(out->size()) != elements) {
    throw py::value_error("out has " + std::to_string(out->size()) + " elements, not " +
                          std::to_string(elements));
  }
  bool well_formed = false;
  {
    const std::span<float> to = writeable_floats(*out);
    const py::gil_scoped_release released;
    well_formed = codecs::decode(codec, bytes.get(), to);
  }
  check_form(codec, well_formed);
  return *out;
}

void decode_add(const std::string& name, const py::object& wire, float weight, py::array total,
                const OptionalName& implementation) {
  const Codec& codec = named(name, implementation);
  const Bytes bytes(wire);
  check_floats(total, "total");
  check_writeable(total, "total");
  check_wire(codec, bytes.get().size(), static_cast<std::uint64_t>(total.size()));
  bool well_formed = false;
  {
    const std::span<float> sum = writeable_floats(total);
    const py::gil_scoped_release released;
    well_formed = codecs::decode_add(codec, bytes.get(), weight, sum);
  }
  check_form(codec, well_formed);
}

// What the owner of a share does with the wires of all.
void sum_wires(const std::string& up, const py::list& wires, py::array total, float divisor,
               const std::string& down, py::array out, const OptionalName& implementation) {
  const Codec& codec = named(up, implementation);
  const Codec& encoder = named(down, implementation);
  check_floats(total, "total");
  check_writeable(total, "total");
  check_bytes(out, "out");
  check_writeable(out, "out");
  if (wires.empty()) throw py::value_error("there is no wire to sum");
  const auto elements = static_cast<std::uint64_t>(total.size());
  check_wire(encoder, static_cast<std::uint64_t>(out.size()), elements);
  std::list<Bytes> held;
  std::vector<Addend> addends;
  for (const py::handle& wire : wires) {
    const Bytes& bytes = held.emplace_back(py::reinterpret_borrow<py::object>(wire));
    check_wire(codec, bytes.get().size(), elements);
    check_form(codec, codecs::valid(codec, bytes.get(), elements));
    addends.push_back({.wire = bytes.get(), .weight = 1});
  }
  const Accumulation work{
      .codec = &codec,
      .addends = addends,
      .begins = true,
      .divisor = divisor,
      .encode_with = &encoder,
      .wire = {static_cast<std::byte*>(out.mutable_data()), static_cast<std::size_t>(out.size())},
      .as_decoded = true};
  const std::span<float> sum = writeable_floats(total);
  const py::gil_scoped_release released;
  accumulate(work, sum);
}

bool copy_finite(const py::array& x, py::array out, const OptionalName& implementation) {
  check_floats(x, "x");
  check_floats(out, "out");
  check_writeable(out, "out");
  if (out.size() != x.size()) throw py::value_error("x and out differ in size");
  const Isa isa = isa_named(implementation);
  const std::span<float> to = writeable_floats(out);
  const py::gil_scoped_release released;
  return codecs::copy_finite(floats(x), std::as_writable_bytes(to).data(), isa);
}

using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

Ranges pieces(const std::string& name, std::uint64_t elements, std::uint64_t begin,
              std::uint64_t count) {
  const Codec& codec = named(name);
  wire_bytes(codec, elements);
  if (begin > elements || count > elements - begin) {
    throw py::value_error("the range [" + std::to_string(begin) + ", +" + std::to_string(count) +
                          ") is not within " + std::to_string(elements) + " elements");
  }
  const std::uint64_t end = begin + count;
  const std::uint32_t granule = codecs::granule(codec);
  if (begin % granule != 0 || (end % granule != 0 && end != elements)) {
    throw py::value_error("a range of a " + name + " wire is a multiple of " +
                          std::to_string(granule) + " elements");
  }
  std::array<codecs::Piece, codecs::max_sections> out;
  const int n = codecs::pieces(codec, elements, begin, count, out);
  Ranges ranges;
  for (const codecs::Piece& piece : std::span(out).first(static_cast<std::size_t>(n))) {
    ranges.emplace_back(piece.offset, piece.bytes);
  }
  return ranges;
}

py::list codec_table() {
  using py::literals::operator""_a;
  py::list rows;
  for (const Codec& codec : codecs::all()) {
    rows.append(py::dict("name"_a = std::string(codec.name), "id"_a = static_cast<int>(codec.id),
                         "variant"_a = static_cast<int>(codec.variant), "block"_a = codec.block,
                         "granule"_a = codecs::granule(codec), "recodable"_a = codec.recodable,
                         "identity"_a = codec.identity, "feedback"_a = codec.feedback,
                         "dithers"_a = codec.dithers));
  }
  return rows;
}

}  // namespace

void register_codec(py::module_& m) {
  using py::literals::operator""_a;
  const py::none none;
  m.def("encode", &encode, "codec"_a, "x"_a, py::kw_only(), "out"_a = none, "residual"_a = none,
        "next_residual"_a = none, "beta"_a = 1.0F, "dither"_a = none, "noise"_a = none,
        "implementation"_a = none);
  m.def("decode", &decode, "codec"_a, "wire"_a, "elements"_a, py::kw_only(), "out"_a = none,
        "implementation"_a = none);
  m.def("decode_add", &decode_add, "codec"_a, "wire"_a, "weight"_a, "total"_a, py::kw_only(),
        "implementation"_a = none);
  m.def("sum_wires", &sum_wires, "up"_a, "wires"_a, "total"_a, py::kw_only(), "divisor"_a, "down"_a,
        "out"_a, "implementation"_a = none);
  m.def("copy_finite", &copy_finite, "x"_a, "out"_a, py::kw_only(), "implementation"_a = none);
  m.def(
      "wire_size",
      [](const std::string& codec, std::uint64_t elements) {
        return wire_bytes(named(codec), elements);
      },
      "codec"_a, "elements"_a);
  m.def("pieces", &pieces, "codec"_a, "elements"_a, "begin"_a, "count"_a);
  m.def("codec_table", &codec_table);
  m.def("codec_table_hash", &codecs::table_hash);
  m.def("codec_implementations", &offered_implementations);
}

}  // namespace isthmus
