#include "session/finished.hpp"

#include <algorithm>

namespace isthmus {

std::vector<std::byte> to_payload(const Report& report) {
  Writer out;
  out.put(report.census.roster.bits())
      .put(report.census.out.bits())
      .put(report.census.lost.bits())
      .put(report.census.lawful.bits())
      .put(report.first_open)
      .put(static_cast<std::uint32_t>(report.finished.size()));
  for (const Finished& one : report.finished)
    out.put(one.operation).put(one.contributors.bits()).put(one.bytes);
  return out.take();
}

std::optional<Report> parse_report(ByteView payload) {
  Reader in(payload);
  Report report;
  report.census.roster = SiteSet(in.get<std::uint64_t>());
  report.census.out = SiteSet(in.get<std::uint64_t>());
  report.census.lost = SiteSet(in.get<std::uint64_t>());
  report.census.lawful = SiteSet(in.get<std::uint64_t>());
  report.first_open = in.get<std::uint64_t>();
  const auto count = in.get<std::uint32_t>();
  if (count > max_finished) return std::nullopt;
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    Finished one;
    one.operation = in.get<std::uint64_t>();
    one.contributors = SiteSet(in.get<std::uint64_t>());
    one.bytes = in.get<std::uint64_t>();
    report.finished.push_back(one);
  }
  if (!in.ended()) return std::nullopt;
  return report;
}

std::map<std::uint64_t, Service> services(SiteSet roster, const std::vector<Report>& reports) {
  std::map<std::uint64_t, Service> result;
  for (const int rank : roster.ranks())
    for (const Finished& one : reports[static_cast<std::size_t>(rank)].finished)
      result.emplace(one.operation, Service{.from = rank, .to = {}, .what = one});
  for (auto& [number, service] : result)
    for (const int rank : roster.ranks()) {
      const Report& report = reports[static_cast<std::size_t>(rank)];
      const bool has_it =
          number < report.first_open ||
          std::ranges::any_of(
              report.finished, [n = number](const Finished& f) { return f.operation == n; });
      if (!has_it) service.to = service.to | SiteSet::of(rank);
    }
  std::erase_if(result, [](const auto& entry) { return entry.second.to.empty(); });
  return result;
}

}  // namespace isthmus
