"""metrics: what session.stats() and hook.stats() count, for Prometheus.

pip install 'isthmus[metrics]', then

    server = isthmus.metrics.serve(hook, port=9400)          # http://127.0.0.1:9400/metrics
    registry.register(isthmus.metrics.Collector(hook))       # or in a registry of one's own

Off unless asked for. Numbers are read when they are asked for, and cost nothing else.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from isthmus.errors import Refused

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

# Name without the prefix, key in the stats, and what it is; a name in _total is a counter.
_of_session = (
    ("operations_total", "operations", "Operations that are done"),
    ("operations_again_total", "again", "Operations begun again without a lost site"),
    ("operations_taken_total", "taken", "Results taken from another site after a loss"),
    ("reduced_bytes_total", "reduced_bytes", "All-reduced, as float32"),
    ("encoded_bytes_total", "encoded_bytes", "What left in all-reduces"),
    ("flight_seconds_total", "flight_seconds", "From calls to results"),
    ("queued_seconds_total", "queued_seconds", "Of these, before anything moved"),
    ("late_seconds_total", "late_seconds", "Of these, until all sites had begun the operation"),
    ("relayed_bytes_total", "relayed_bytes", "Carried between other sites"),
    ("generation", "generation", "Of the roster"),
    ("coordinator", "coordinator", "1 while the coordinator answers"),
)
_of_link = (
    ("sent_bytes_total", "bytes_sent", 1.0, "Written to the link's sockets"),
    ("received_bytes_total", "bytes_received", 1.0, "Read from the link's sockets"),
    ("retransmits_total", "retransmits", 1.0, "TCP segments that were sent again"),
    ("streams", "streams", 1.0, "Data streams of the link"),
    ("streams_lost_total", "streams_lost", 1.0, "Connections that broke and were replaced"),
    ("frames_again_total", "frames_again", 1.0, "Slices that were sent once more for that"),
    ("rtt_seconds", "rtt_ms", 1e-3, "Round trip, smoothed by TCP"),
)
_of_hook = (
    ("steps_total", "steps", "Training steps"),
    ("buckets_total", "buckets", "Gradient buckets"),
    ("exchange_seconds_total", "exchange_seconds", "From first buckets to last results"),
    ("waiting_seconds_total", "waiting_seconds", "What backward did not hide of the exchange"),
)


_Values: TypeAlias = Mapping[tuple[str], float] | Mapping[tuple[str, str], float]  # by labels


class Source(Protocol):
    """A Session or a Hook."""

    def stats(self) -> Mapping[str, Any]: ...


class Collector:
    """For a registry of prometheus_client."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator["Metric"]:
        stats = self._source.stats()
        session: Mapping[str, Any] = stats.get("session", stats)
        site = str(session.get("site", ""))
        if "session" in stats:
            for name, key, text in _of_hook:
                yield _metric(name, text, {(site,): stats[key]}, "site")
            stages = {(site, stage): spent for stage, spent in stats["stage_seconds"].items()}
            text = "Spent in a stage, or waiting in it"
            yield _metric("stage_seconds_total", text, stages, "site", "stage")
        if session:  # a rank that is no gateway has none
            yield from _session(session, site)


def _session(session: Mapping[str, Any], site: str) -> Iterator["Metric"]:
    for name, key, text in _of_session:
        yield _metric(name, text, {(site,): session[key]}, "site")
    yield _metric("sites", "That take part now", {(site,): len(session["roster"])}, "site")
    events = {(site, kind): count for kind, count in session["event_counts"].items()}
    yield _metric("events_total", "By kind (docs/events.md)", events, "site", "kind")
    for name, key, scale, text in _of_link:
        values = {(site, peer): scale * link[key] for peer, link in session["links"].items()}
        yield _metric(name, text, values, "site", "peer")


def _metric(name: str, text: str, values: _Values, *labels: str) -> "Metric":
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    metric = kind(f"isthmus_{name}", text, labels=labels)
    for of, value in values.items():
        metric.add_metric(of, float(value))
    return metric


class Server:
    """Answers until it is closed."""

    def __init__(self, http: Any, thread: Any) -> None:
        self._http = http
        self._thread = thread

    @property
    def port(self) -> int:
        return int(self._http.server_port)

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def serve(source: Source, port: int, *, address: str = "127.0.0.1") -> Server:
    """Answer Prometheus at http://ADDRESS:PORT/metrics, in a thread.

    Whoever can reach that reads the sites' names and numbers, so the address is this machine's own
    unless you say otherwise. port 0: any. Refused: it cannot be bound, or prometheus_client is
    missing.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ModuleNotFoundError:
        raise Refused(
            "isthmus.metrics needs prometheus_client: pip install 'isthmus[metrics]'"
        ) from None
    registry = CollectorRegistry()
    registry.register(Collector(source))
    try:
        http, thread = start_http_server(port, addr=address, registry=registry)
    except (OSError, OverflowError) as error:
        raise Refused(f"metrics cannot be served at {address}:{port}: {error}") from error
    return Server(http, thread)
