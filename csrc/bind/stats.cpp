#include "bind/stats.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

double seconds(std::int64_t ns) {
  return static_cast<double>(ns) / second_ns;
}

double milliseconds(std::int64_t ns) {
  return static_cast<double>(ns) / millisecond_ns;
}

// 0 where no time went by.
double mbit_per_s(std::uint64_t bytes, std::int64_t ns) {
  return ns <= 0 ? 0 : static_cast<double>(bytes) * 8e3 / static_cast<double>(ns);
}

py::dict to_dict(const LinkStats& link) {
  const PathInfo& path = link.path;
  return py::dict(
      "bytes_sent"_a = link.bytes_sent, "bytes_received"_a = link.bytes_received,
      "payload_sent"_a = link.payload_sent, "payload_received"_a = link.payload_received,
      "frames_sent"_a = link.frames_sent, "frames_received"_a = link.frames_received,
      "streams"_a = link.streams, "streams_lost"_a = link.streams_broken,
      "frames_again"_a = link.frames_again, "bytes_acked"_a = path.bytes_acked,
      "bytes_delivered"_a = path.bytes_delivered, "sending_seconds"_a = seconds(path.busy_ns),
      "sent_mbit"_a = mbit_per_s(path.bytes_acked, path.busy_ns),
      "receiving_seconds"_a = seconds(link.run_ns_received),
      "received_mbit"_a = mbit_per_s(link.run_bytes_received, link.run_ns_received),
      "delivery_mbit"_a = path.delivery_bits_per_s / 1e6, "rtt_ms"_a = milliseconds(path.rtt_ns),
      "min_rtt_ms"_a = milliseconds(path.min_rtt_ns), "retransmits"_a = path.retransmits,
      "segments"_a = path.segments, "segment_bytes"_a = path.segment_bytes,
      "window_bytes"_a = path.window_bytes, "congestion_bytes"_a = path.congestion_bytes);
}

}  // namespace

py::dict to_dict(const EngineStats& stats, const Roster& roster) {
  py::dict links;
  for (const auto& [site, link] : stats.links) links[py::str(site)] = to_dict(link);
  for (std::size_t rank = 0; rank < stats.ways.size(); ++rank) {
    const py::str site(roster.members.at(rank).site);
    const int way = stats.ways[rank];
    if (links.contains(site))
      links[site]["by_way_of"] =
          way == direct_way ? "" : roster.members.at(static_cast<std::size_t>(way)).site;
  }
  const OperationStats& operations = stats.operations;
  py::list contributors;
  for (const int rank : operations.contributors)
    contributors.append(roster.members.at(static_cast<std::size_t>(rank)).site);
  py::list sites;
  for (const int rank : stats.roster)
    sites.append(roster.members.at(static_cast<std::size_t>(rank)).site);
  return py::dict(
      "operations"_a = stats.operations_done, "kept"_a = stats.operations_kept,
      "generation"_a = std::max(stats.generation, roster.generation), "roster"_a = sites,
      "again"_a = stats.operations_again, "taken"_a = stats.operations_taken,
      "contributors"_a = contributors, "reduced_bytes"_a = operations.reduced_bytes,
      "float_bytes"_a = operations.float_bytes, "encoded_bytes"_a = operations.encoded_bytes,
      "flight_seconds"_a = seconds(operations.flight_ns),
      "queued_seconds"_a = seconds(operations.queued_ns),
      "late_seconds"_a = seconds(operations.late_ns), "relayed_bytes"_a = stats.relayed_bytes,
      "coordinator"_a = stats.coordinator, "links"_a = links);
}

}  // namespace isthmus
