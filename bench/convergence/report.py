"""The table and the plot of what run.py found: docs/convergence.md and its picture.

    python bench/convergence/report.py

Needs matplotlib. Losses are of text that no site trained on, after equal numbers of tokens.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from run import RESULTS, ROOT, WAYS

PAGE = ROOT / "docs" / "convergence.md"
PICTURE = ROOT / "docs" / "convergence.svg"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
MAIN_STEPS = 1500

Result = dict[str, Any]


def load(folder: Path) -> dict[tuple[str, int], list[Result]]:
    """By way and number of steps, the seeds in order. SystemExit: there are none."""
    found: dict[tuple[str, int], list[Result]] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        job = result["job"]
        found.setdefault((job["name"], job["steps"]), []).append(result)
    if not found:
        raise SystemExit(f"no results in {folder}: python bench/convergence/run.py makes them")
    return found


def mean(results: list[Result]) -> float:
    return statistics.mean(result["validation_loss"] for result in results)


def baseline(name: str) -> str:
    """What a way is compared with: exchanging the same things, as often, in float32."""
    inner = WAYS[name].get("inner", 1)
    return "f32" if inner == 1 else f"f32-{inner}"


def row(name: str, steps: int, found: dict[tuple[str, int], list[Result]]) -> str:
    results = found[name, steps]
    losses = [result["validation_loss"] for result in results]
    spread = f" ± {statistics.stdev(losses):.3f}" if len(losses) > 1 else ""
    against = found.get((baseline(name), steps))
    seeds = {result["job"]["seed"] for result in results}
    same = [r for r in against or [] if r["job"]["seed"] in seeds]
    more = f"{100 * (mean(results) / mean(same) - 1):+.2f} %" if same else ""
    bits = results[0]["bits_per_parameter_and_step"]
    return (
        f"| {name} | {steps} | {bits:.3g} | {mean(results):.4f}{spread} | {len(losses)} | "
        f"{baseline(name)} | {more} |"
    )


def table(found: dict[tuple[str, int], list[Result]]) -> str:
    lines = [
        "| way | steps | bits sent per parameter and step, a site | validation loss | seeds "
        "| against | more |",
        "|---|---|---|---|---|---|---|",
    ]
    for steps in sorted({steps for _, steps in found}):
        lines += [row(name, steps, found) for name in WAYS if (name, steps) in found]
    return "\n".join(lines)


def plot(found: dict[tuple[str, int], list[Result]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "isthmus"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for name in WAYS:
        if (name, MAIN_STEPS) not in found:
            continue
        result = found[name, MAIN_STEPS][0]
        panel = axes[0] if WAYS[name].get("inner", 1) == 1 else axes[1]
        per_step = result["tokens"] / MAIN_STEPS / 1e6
        steps, losses = zip(*result["curve"], strict=True)
        panel.plot([s * per_step for s in steps], losses, label=name, linewidth=1)
    axes[0].set(title="gradients, every step", ylabel="training loss", ylim=(3.4, 6))
    axes[1].set(title="pseudo-gradients, every 15 or 30 steps")
    for panel in axes:
        panel.set_xlabel("million tokens")
        panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> int:
    found = load(RESULTS)
    text = PAGE.read_text()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{PAGE} has no {BEGIN} … {END} to write the table between")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")
    plot(found)
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
