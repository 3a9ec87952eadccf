"""stats: the numbers of a session and of a hook. Dictionaries, for a log, that print as a table.

docs/stats.md says what each number is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from isthmus.events import Events

_shown = 5  # events, in print


class SessionStats(dict[str, Any]):
    """What `session.stats()` returns."""

    def __init__(self, native: Mapping[str, Any], site: str, events: Events | None = None) -> None:
        told = Events() if events is None else events
        super().__init__(native, site=site, events=told.kept(), event_counts=told.counts())
        self["contributors"] = tuple(native["contributors"])
        self["compression"] = ratio(native["float_bytes"], native["encoded_bytes"])

    def __str__(self) -> str:
        lines = [
            f"site {self['site']}, generation {self['generation']}: {self['operations']} operations"
        ]
        if self["contributors"]:
            lines[0] += f", the last all-reduce of {', '.join(self['contributors'])}"
            lines.append(
                f"{quantity(self['reduced_bytes'])} of float32 reduced; "
                f"{quantity(self['encoded_bytes'])} sent for {quantity(self['float_bytes'])}, "
                f"1 : {self['compression']:.1f}"
            )
        operations = max(self["operations"], 1)
        times = [1e3 * self[key] / operations for key in ("flight_seconds", "queued_seconds")]
        late = 1e3 * self["late_seconds"] / operations
        lines.append(
            f"an operation took {times[0]:.1f} ms; {times[1]:.1f} until it moved, {late:.1f} until "
            "all sites had begun it"
        )
        if self["relayed_bytes"]:
            lines.append(f"{quantity(self['relayed_bytes'])} carried between other sites")
        head = ["link", "sent", "received", "Mbit/s out", "in", "rtt ms", "least", "resent"]
        rows = [
            [
                f"{site} by way of {link['by_way_of']}" if link["by_way_of"] else site,
                quantity(link["bytes_sent"]),
                quantity(link["bytes_received"]),
                f"{link['sent_mbit']:.0f}" if link["sent_mbit"] else "-",
                f"{link['received_mbit']:.0f}" if link["received_mbit"] else "-",
                f"{link['rtt_ms']:.1f}",
                f"{link['min_rtt_ms']:.1f}",
                str(link["retransmits"]),
            ]
            for site, link in self["links"].items()
        ]
        lines += table([head, *rows])
        return "\n".join([*lines, *(event["text"] for event in self._news())])

    def _news(self) -> Sequence[Mapping[str, Any]]:
        return [event for event in self["events"] if event["level"] != "info"][-_shown:]


class HookStats(dict[str, Any]):
    """What `hook.stats()` returns."""

    def __str__(self) -> str:
        steps = max(self["steps"], 1)
        exchange, waiting = (
            1e3 * self[key] / steps for key in ("exchange_seconds", "waiting_seconds")
        )
        lines = [
            f"{self['steps']} steps of {self['buckets'] / steps:.1f} buckets: gradients were on "
            f"their way for {exchange:.1f} ms a step, and waited for {waiting:.1f}: "
            f"{self['hidden_share']:.0%} hidden"
        ]
        if self["delay"]:
            lines[0] += f" (delay {self['delay']})"
        stages = self["stage_seconds"]
        lines += table(
            [
                ["stage", *stages],
                ["ms a step", *(f"{1e3 * seconds / steps:.2f}" for seconds in stages.values())],
            ]
        )
        return "\n".join([*lines, *([str(self["session"])] if self["session"] else [])])


def ratio(whole: float, part: float) -> float:
    """1 where there is nothing yet."""
    return whole / part if part else 1.0


def quantity(count: float) -> str:
    """Bytes for people: "1.23 GB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"


def table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """The first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells])
