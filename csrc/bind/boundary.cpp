// What sites say at a step's boundary, and what follows from it, for Python: bytes in and out.
#include "session/boundary.hpp"

#include <pybind11/stl.h>

#include "bind/errors.hpp"
#include "bind/module.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

py::bytes to_bytes(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

SiteSet set_of(const std::vector<int>& ranks) {
  SiteSet set;
  for (const int rank : ranks) {
    if (rank < 0 || rank >= static_cast<int>(max_sites)) raise(refused("there is no such rank"));
    set = set | SiteSet::of(rank);
  }
  return set;
}

// Of a site that is lost there are no bytes.
template <class Said>
std::vector<std::optional<Said>> parsed(const std::vector<py::bytes>& payloads,
                                        std::optional<Said> (*parse)(ByteView)) {
  if (payloads.size() > max_sites) raise(refused("that is more than all sites"));
  std::vector<std::optional<Said>> said;
  for (const std::string_view text : payloads) {
    said.push_back(text.empty() ? std::nullopt : parse(std::as_bytes(std::span(text))));
    if (!text.empty() && !said.back())
      raise(wire_error("rank " + std::to_string(said.size() - 1) +
                       " said nothing that makes sense between two steps"));
  }
  return said;
}

py::tuple decide_boundary(const std::vector<py::bytes>& words) {
  constexpr const char* verdicts[] = {"go_on", "change_over", "differ"};
  const Decision decision = decide(parsed(words, &parse_word));
  return py::make_tuple(verdicts[static_cast<int>(decision.verdict)], decision.epoch,
                        decision.odd.ranks());
}

py::tuple hand_over(const std::vector<py::bytes>& answers, int favourite) {
  if (favourite >= static_cast<int>(answers.size())) raise(refused("there is no such rank"));
  const HandOver plan = plan_hand_over(parsed(answers, &parse_answer), favourite);
  return py::make_tuple(plan.donor, plan.takers);
}

}  // namespace

void register_boundary(py::module_& m) {
  m.def(
      "boundary_word",
      [](std::uint64_t step, std::uint32_t epoch, std::uint64_t digest) {
        return to_bytes(to_payload(Word{.step = step, .epoch = epoch, .digest = digest}));
      },
      py::kw_only(), "step"_a, "epoch"_a = 0, "digest"_a = 0);
  m.def("decide_boundary", &decide_boundary, "words"_a);
  m.def(
      "without_state",
      [](const std::vector<py::bytes>& words) {
        return without_state(parsed(words, &parse_word)).ranks();
      },
      "words"_a);
  m.def(
      "epoch_answer",
      [](bool has_state, std::uint64_t step, std::uint32_t epoch, const std::vector<int>& members,
         const std::vector<int>& lawful, const std::vector<int>& here, std::uint32_t busy) {
        return to_bytes(to_payload(Answer{.has_state = has_state,
                                          .step = step,
                                          .epoch = epoch,
                                          .members = set_of(members),
                                          .lawful = set_of(lawful),
                                          .here = set_of(here),
                                          .busy = busy}));
      },
      py::kw_only(), "has_state"_a, "step"_a = 0, "epoch"_a = 0, "members"_a = std::vector<int>{},
      "lawful"_a = std::vector<int>{}, "here"_a = std::vector<int>{}, "busy"_a = 0);
  m.def("plan_hand_over", &hand_over, "answers"_a, py::kw_only(), "favourite"_a = no_favourite);
  m.attr("too_few_are_here") = HandOver::too_few + 0;
  m.attr("no_favourite") = no_favourite;
  m.attr("favourite_elsewhere") = favourite_elsewhere;
}

}  // namespace isthmus
