"""coverage: what many runs have met: runs in which nothing happens must not pass for proof."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

COUNTED = (
    *("steps", "checked", "epochs", "processes"),
    *("streams_replaced", "frames_again", "damages"),
)
RECOVERIES = ("a loss", "a joining", "a hand-over")


@dataclass
class Coverage:
    """runs: how many. worlds: in how many of them a kind of fault struck. blows: (kind, what the
    sites were about) of every fault. counts: what else is added up."""

    runs: int = 0
    worlds: Counter[str] = field(default_factory=Counter)
    blows: Counter[tuple[str, str]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def see(self, report: Mapping[str, Any]) -> None:
        self.runs += 1
        kinds = {self._kind(blow) for blow in report["struck"]}
        self.worlds.update(kinds)
        self.blows.update((self._kind(blow), blow["during"]) for blow in report["struck"])
        harm = sum(not blow["harmless"] for blow in report["struck"])
        self.counts["without a fault"] += not report["struck"]
        self.counts["with two faults or more"] += len(report["struck"]) > 1
        self.counts["with a fault in a recovery"] += any(
            blow["during"] in RECOVERIES for blow in report["struck"][1:]
        )
        self.counts["with a loss"] += harm > 0
        self.counts["with another epoch"] += report["epochs"] > 0
        self.counts["rightly stuck at the end"] += not report["together"]
        self.counts["with a stream replaced"] += report["streams_replaced"] > 0
        self.counts["with frames sent again"] += report["frames_again"] > 0
        self.counts["with damage dropped"] += report["damages"] > 0
        for name in COUNTED:
            self.counts[name] += report[name]

    def add(self, other: "Coverage") -> None:
        self.runs += other.runs
        self.worlds.update(other.worlds)
        self.blows.update(other.blows)
        self.counts.update(other.counts)

    @staticmethod
    def _kind(blow: Mapping[str, Any]) -> str:
        kind = str(blow["kind"])
        of_coordinator = blow["coordinator"] and kind != "coordinator"
        return f"{kind} of the coordinator" if of_coordinator else kind

    def table(self) -> Iterator[str]:
        scenes = ("before the run", "training", *RECOVERIES)
        yield f"{'fault':28} {'runs':>7}   blows " + " ".join(f"{scene:>14}" for scene in scenes)
        for kind in sorted(self.worlds):
            row = [self.blows[kind, scene] for scene in scenes]
            yield f"{kind:28} {self.worlds[kind]:7} {sum(row):7} " + " ".join(
                f"{number:14}" for number in row
            )
        some = [name for name in sorted(self.counts) if " " in name]
        for name in some:
            yield f"{name:28} {self.counts[name]:7}"
        yield (
            f"{self.counts['steps']} steps in {self.counts['epochs'] + self.runs} epochs of "
            f"{self.counts['processes']} processes, {self.counts['checked']} sums compared"
        )
        yield (
            f"{self.counts['streams_replaced']} streams replaced, "
            f"{self.counts['frames_again']} frames sent again, "
            f"{self.counts['damages']} dropped because they came changed"
        )
