"""The native core, as Python sees it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Not a module of its own at run time: this file would be too long.
from isthmus._core_testing import *  # noqa: F403

__version__: str

class Work:
    """One operation in flight."""

    @property
    def operation(self) -> int: ...
    @property
    def contributors(self) -> list[int]:
        """Ranks whose data is in the result; empty until it is done."""
    @property
    def finite(self) -> bool:
        """Done well, and no element of an all-reduce's result is infinite or not a number."""
    def done(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> None:
        """Returns when done; raises the operation's error; Timeout after `timeout` seconds (the
        operation goes on).
        Lets signals through."""
    @property
    def term_sum(self) -> tuple[list[float], float]:
        """Of an exchange with terms, once it is done: their weights, and the divisor."""
    def gathered(self) -> list[bytes]:
        """What all_gather brought, by rank."""
    def notify(self) -> None:
        """Put this work into the session's completions once it is done (at once if it is)."""

class Session:
    """One site's membership; made, without the GIL, when all sites are there."""

    def __init__(
        self,
        *,
        rendezvous: str,
        site: str,
        sites: int,
        run: str,
        serve: bool,
        listen: str,
        advertise: str,
        streams: int,
        timeout: float,
        heartbeat: float,
        congestion: str,
        relay: bool,
        codec_threads: int,
        on_loss: str = "raise",
        min_sites: int = 1,
        favourite: str = "",
        epoch: int = 0,
        called: Sequence[str] = (),
        predecessor: Session | None = None,
    ) -> None: ...
    def joined(self, timeout: float) -> bool:
        """After a call the constructor does not wait: ask this first. Raises why it failed."""
    @property
    def epoch(self) -> int:
        """In which it has joined; above 0 also where a new site was called while it waited."""
    def attend(self, *, changed_over: bool, failed: int = 0) -> None:
        """Be called from now on. failed: the epoch that it was called to and does not join."""
    def next_call(self, *, after: int, timeout: float) -> tuple[int, list[str]] | None:
        """Blocks (without the GIL) for a call to an epoch above `after`: its number and sites."""
    @property
    def whole(self) -> bool:
        """No site is lost, and it has not failed."""
    @property
    def stuck(self) -> bool:
        """Too few sites are left to go on, and it waits for the next epoch."""
    @property
    def present(self) -> list[int]:
        """Ranks of the sites that take part, this one too: those that are left."""
    @property
    def lawful(self) -> list[int]:
        """Ranks of the last sites that were enough to go on: the roster, unless it is stuck."""
    def stop_listening(self) -> None:
        """The port is free when it returns. Streams that others would open are done without."""
    @property
    def rank(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def sites(self) -> list[str]:
        """Names by rank: sorted, so that sums have the same order in every run."""
    @property
    def relayed(self) -> list[tuple[int, int, int]]:
        """(a, b, by): ranks of two sites, a < b, that are connected by way of a third."""
    def exchange(
        self,
        wire: Any,
        out: Any,
        *,
        segments: Sequence[tuple[str, str, int]],
        mean: bool,
        weight: float,
        schedule: str,
        layout: int,
        terms: bool = False,
    ) -> Work:
        """All-reduce. `segments`: (codec up, codec down, elements) of each. `wire`: C-contiguous
        buffer of their wires, each at its segment_offsets() (for one "f32" segment it may be `out`
        itself). `out`: float32 for the result, or (`terms`) bytes as terms() says; written once,
        when the work is done well; until then both stay alive and untouched. `layout` is compared
        between sites."""
    def terms(
        self, segments: Sequence[tuple[str, str, int]], *, schedule: str
    ) -> tuple[int, int, list[tuple[str, str, int]]]:
        """How many wires a result is made of, bytes from one to the next, their segments."""
    def broadcast(self, data: Any, *, root: int) -> Work:
        """Every site's writable C-contiguous buffer becomes the root's bytes. Sizes must agree."""
    def hand(self, data: Any, *, bytes: int, root: int, takers: Sequence[int]) -> Work:
        """Every taker's writable C-contiguous buffer of so many bytes becomes the root's. At all
        other sites `data` is None; they call it too, for their operations have the same order."""
    def swap(self, data: Any, *, round: int, among: Sequence[int]) -> Work:
        """Two of all that are left exchange their bytes: each with each in W-1 rounds, or W."""
    def all_gather(self, data: bytes) -> Work:
        """At most 1 MiB a site; sizes may differ. An empty one is a barrier."""
    @property
    def events(self) -> Events:
        """What happens from joining on; to wait for them does not keep the session open."""
    def next_completion(self) -> Work | None:
        """Blocks (without the GIL) for the next notified work; None once the session is closed."""
    def set_paths(self, paths: Paths | None) -> None:
        """What "auto" goes by from the next operation on; the same at all sites."""
    def set_paces(self, all: float, peers: Sequence[float] = ()) -> None:
        """Bytes a second: of all data together, and of all-reduces to each peer; 0: no limit."""
    def set_streams(self, peer: int, count: int) -> None:
        """So many data streams to a peer from soon on, 1 to 32; both ends say the same."""
    def stats(self) -> dict[str, Any]:
        """Since joining; docs/stats.md says what each number is."""
    def abort(self, *, code: str, text: str, peer: int) -> None:
        """End the session at every site for this reason; peer: the rank it is about, or -1."""
    def close(self) -> None: ...

class Events:
    def next(self) -> dict[str, Any] | None:
        """Blocks (without the GIL) for the next; None: the session is closed. kind: "lost", "ended"
        or "streams"; peer: a rank, or -1; code and why: of an error; before and now: how many sites
        or streams; generation."""

class Paths:
    """What the network between the sites carries: bytes a second and seconds one way, by rank;
    pairs as [from][to]. relayed: two ranks, and the one by way of which they exchange data."""

    def __init__(
        self,
        *,
        uplink: Sequence[float],
        downlink: Sequence[float],
        pair: Sequence[Sequence[float]],
        delay: Sequence[Sequence[float]],
        relayed: Sequence[tuple[int, int, int]] = (),
    ) -> None: ...
    def choose(
        self, segments: Sequence[tuple[str, str, int]], *, schedule: str = "auto"
    ) -> dict[str, Any]:
        """How an all-reduce runs: schedule, shares (of 65536; empty: even), order (of a ring;
        empty: by rank), slice_elements, and the seconds that the network takes for it (None for one
        site)."""

def boundary_word(*, step: int, epoch: int = 0, digest: int = 0) -> bytes:
    """What a site says before `step`: the epoch it is ready for, its state's number; 0: none."""

def decide_boundary(words: Sequence[bytes]) -> tuple[str, int, list[int]]:
    """By rank, b"" of who is lost: "go_on", "change_over" (to an epoch), "differ" (who is odd)."""

def without_state(words: Sequence[bytes]) -> list[int]: ...  # ranks; not of those who are lost
def epoch_answer(
    *,
    has_state: bool,
    step: int = 0,
    epoch: int = 0,
    members: Sequence[int] = (),
    lawful: Sequence[int] = (),
    here: Sequence[int] = (),
    busy: int = 0,
) -> bytes:
    """What a site says first in a new epoch; Answer of csrc/session/boundary.hpp."""

def plan_hand_over(answers: Sequence[bytes], *, favourite: int = ...) -> tuple[int, list[int]]:
    """By rank, b"" of who is lost: the donor, below 0 if there is none; and who takes its."""

too_few_are_here: int  # the donor, if they are fewer than could go on from the best one
no_favourite: int
favourite_elsewhere: int  # it is not called to this epoch

class Coordinator:
    """The roster's keeper, in a thread of its own. Never sees data."""

    def __init__(self, *, listen: str) -> None: ...
    @property
    def address(self) -> str: ...
    def close(self) -> None: ...

def segment_offsets(segments: Sequence[tuple[str, str, int]]) -> list[int]:
    """Where each segment's wire begins in an input, at multiples of 16 bytes; last, where the last
    one ends."""

def encode(
    codec: str,
    x: NDArray[np.float32],
    *,
    out: NDArray[np.uint8] | None = None,
    residual: NDArray[np.float32] | NDArray[np.uint16] | None = None,
    next_residual: NDArray[np.float32] | NDArray[np.uint16] | None = None,
    beta: float = 1.0,
    dither: tuple[int, ...] | None = None,
    noise: tuple[float, ...] | None = None,
    implementation: str | None = None,
) -> NDArray[np.uint8]:
    """With `next_residual` (it may be `residual` itself; bfloat16 as uint16): error feedback.
    `dither`: (key, step, bucket, stream[, group]) for stochastic rounding. `noise`:
    encode clip_noise(x, noise), in one pass. `implementation`: one of codec_implementations(), by
    default the last; all make the same bytes."""

def decode(
    codec: str,
    wire: Any,
    elements: int,
    *,
    out: NDArray[np.float32] | None = None,
    implementation: str | None = None,
) -> NDArray[np.float32]:
    """`wire`: C-contiguous, wire_size(codec, elements) bytes; ValueError for any other."""

def decode_add(
    codec: str,
    wire: Any,
    weight: float,
    total: NDArray[np.float32],
    *,
    implementation: str | None = None,
) -> None:
    """total += weight * decoded, each product and each sum rounded to float32. After a ValueError
    for a malformed wire, `total` may hold part of it."""

def sum_wires(
    up: str,
    wires: list[Any],
    total: NDArray[np.float32],
    *,
    divisor: float,
    down: str,
    out: NDArray[np.uint8],
    implementation: str | None = None,
) -> None:
    """What the owner of a share does: `out` becomes the wire, as `down`, of the sum of wires over
    `divisor`, and `total` what that decodes to."""

def sum_of_squares(x: NDArray[np.float32]) -> float:
    """In float64, in the order that all implementations keep."""

def clip_factor(squares: float, norm: float) -> float:
    """What clips a vector with this sum of squares to `norm`; 0 where it is not finite."""

def clip_noise(
    x: NDArray[np.float32],
    noise: tuple[float, ...],
    *,
    out: NDArray[np.float32] | None = None,
    implementation: str | None = None,
) -> NDArray[np.float32]:
    """kernels/dp/clip_noise. `noise`: (factor, spread, key, step, bucket, stream[, group])."""

def wire_size(codec: str, elements: int) -> int: ...
def pieces(codec: str, elements: int, begin: int, count: int) -> list[tuple[int, int]]:
    """(offset, bytes) of each section's share of whole blocks, in a wire of `elements`."""

def codec_table() -> list[dict[str, Any]]:
    """name, id, variant, block, granule, recodable, identity, feedback, dithers of each."""

class WanSite:
    """One emulated site: its TUN device's descriptor, its IPv4 address; rates of 0: unlimited."""

    def __init__(
        self, *, device: int, address: int, up_bps: float, down_bps: float, queue_ns: int
    ) -> None: ...

class WanLine:
    """One direction of a pair of sites."""

    def __init__(
        self,
        *,
        origin: int,
        target: int,
        rate_bps: float,
        delay_ns: int,
        loss: float,
        queue_ns: int,
    ) -> None: ...

class WanCut:
    """Between a site and another (None: anybody) nothing passes; length_ns None: for good."""

    def __init__(
        self, *, site: int, other: int | None, after_ns: int, length_ns: int | None
    ) -> None: ...

class WanOrders:
    """What is to go wrong in a loop that runs, from any thread. for_ns None: for good; other None:
    all others. Whoever gives them checks the numbers."""

    def cut(self, site: int, *, other: int | None, for_ns: int | None) -> None: ...
    def slow(self, site: int, *, factor: float, for_ns: int | None) -> None:
        """Its rates are so many times lower, its delays as much longer."""
    def corrupt(self, site: int, *, other: int | None) -> None:
        """A byte of the next segment of many that it sends to the other is changed on its way."""

class WanTally:
    @property
    def segments(self) -> int: ...
    @property
    def bytes(self) -> int: ...

class WanCount:
    """One direction of a pair: sent = delivered + lost + dropped + cut + held."""

    @property
    def origin(self) -> int: ...
    @property
    def target(self) -> int: ...
    @property
    def sent(self) -> WanTally: ...
    @property
    def delivered(self) -> WanTally: ...
    @property
    def lost(self) -> WanTally: ...
    @property
    def dropped(self) -> WanTally: ...
    @property
    def cut(self) -> WanTally: ...
    @property
    def held(self) -> WanTally: ...

def run_wan_loop(
    sites: Sequence[WanSite],
    lines: Sequence[WanLine],
    cuts: Sequence[WanCut],
    *,
    seed: int,
    stop: Sequence[int],
    orders: WanOrders | None = None,
) -> list[WanCount]:
    """Carry packets, without the GIL, until a descriptor in `stop` is readable or closed. Raises
    ValueError for bad settings."""

def wan_departures(
    *, rate_bps: float, depth_ns: int, times_ns: Sequence[int], sizes: Sequence[int]
) -> list[int | None]:
    """When packets leave one of the emulator's queues; None: dropped. For tests."""

def wan_lost(*, loss: float, seed: int, packets: int, segments: int) -> list[int]:
    """Which segments are lost of `packets` packets of `segments` segments each. For tests."""

def wan_shape(packet: bytes) -> dict[str, int] | None:
    """target, segments, wire_bytes of a packet as TUN gives it; None: no IPv4. For tests."""

def wan_damaged(packet: bytes) -> bytes:
    """Its first segment, changed on its way as by WanOrders.corrupt. For tests."""

def wan_pieces(packet: bytes, *, lost: Sequence[int]) -> list[bytes]:
    """What is left of a packet without its lost segments. For tests."""

def codec_table_hash() -> int:
    """Changes when ids, names or formats do."""

def codec_implementations() -> list[str]:
    """What this processor can run, plainest first."""
