"""The native core, as Python sees it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    def gathered(self) -> list[bytes]:
        """What all_gather brought, by rank."""
    def notify(self) -> None:
        """Put this work into the session's completions once it is done (at once if it is)."""

class Session:
    """One site's membership in a run. The constructor joins, and blocks (without the GIL) until all
    sites are there.
    """

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
        congestion: str = "bbr",
    ) -> None: ...
    @property
    def rank(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def sites(self) -> list[str]:
        """Names by rank: sorted, so that sums have the same order in every run."""
    def exchange(
        self,
        wire: Any,
        out: NDArray[np.float32],
        *,
        segments: Sequence[tuple[str, str, int]],
        mean: bool,
        weight: float,
        schedule: str,
        layout: int,
    ) -> Work:
        """All-reduce. `segments`: (codec up, codec down, elements) of each. `wire`: C-contiguous
        buffer of their wires, each at its segment_offsets() (for one "f32" segment it may be `out`
        itself). `out` is written once, when the work is done well; until then both stay alive and
        untouched. `layout` is compared between sites."""
    def broadcast(self, data: Any, *, root: int) -> Work:
        """Every site's writable C-contiguous buffer becomes the root's bytes. Sizes must agree."""
    def all_gather(self, data: bytes) -> Work:
        """At most 1 MiB a site; sizes may differ. An empty one is a barrier."""
    def next_completion(self) -> Work | None:
        """Blocks (without the GIL) for the next notified work; None once the session is closed."""
    def stats(self) -> dict[str, Any]: ...
    def close(self) -> None: ...

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
    """(offset, bytes) of each section's share of elements [begin, begin + count), whole blocks, in
    a wire of `elements`."""

def codec_table() -> list[dict[str, Any]]:
    """name, id, variant, block, granule, recodable, identity, feedback, dithers of each."""

# For tests.

def sim_join(
    *,
    sites: list[dict[str, Any]],
    strangers: list[dict[str, Any]],
    coordinators: list[tuple[float, float]],
    impostor: bytes | None,
    end: float,
    seed: int,
) -> dict[str, Any]:
    """Sites join in the simulator; coordinators live from each first to its second time, in
    seconds.
    """

def mesh_payload_decodes(*, kind: str, payload: bytes) -> bool | str:
    """Whether a decoded "join" or "roster" encodes to the same bytes; a "refuse"'s text.
    ValueError: not valid.
    """

def mesh_frame(*, kind: int, payload: bytes) -> bytes: ...

# For the tests of csrc/net: the simulator, actors written in Python, and frames.

class SimActor:
    def step(self, now_ns: int) -> int:
        """Override: does all that can be done now; returns when to come back."""

class SimStream:
    def write(self, data: bytes) -> int: ...
    def read(self, most: int) -> bytes: ...
    def can_read(self) -> bool: ...
    def can_write(self) -> bool: ...
    def connected(self) -> bool: ...
    def shut_write(self) -> None: ...
    def peer_address(self) -> str: ...
    def retransmits(self) -> int: ...

class SimListener:
    def accept(self) -> SimStream | None: ...
    def address(self) -> str: ...

class SimNet:
    """csrc/net/sim.hpp."""

    def __init__(self, **settings: Any) -> None: ...
    @property
    def now_ns(self) -> int: ...
    def connect(self, site: int, address: str) -> SimStream: ...
    def listen(self, site: int, address: str) -> SimListener: ...
    def add(self, site: int, actor: SimActor) -> None: ...
    def run_until(self, done: Callable[[], bool], limit_ns: int) -> str:
        """ "reached", "out_of_time", "stuck" or "livelock"."""
    def at(self, when_ns: int, call: Callable[[], object]) -> None: ...
    def set_rates(self, site: int, up_bits_per_s: int, down_bits_per_s: int) -> None: ...
    def set_path(
        self, site: int, peer: int, latency_ns: int, jitter_ns: int, loss: float
    ) -> None: ...
    def set_not_dialable(self, site: int, refuse: bool) -> None: ...
    def kill(self, site: int) -> None: ...
    def revive(self, site: int) -> None: ...
    def freeze(self, site: int, for_ns: int) -> None: ...
    def cut(self, site: int, peer: int, for_ns: int) -> None: ...
    def cut_off(self, site: int, for_ns: int) -> None: ...
    def heal(self, site: int, peer: int) -> None: ...
    def slow(self, site: int, factor: int, for_ns: int) -> None: ...
    def clog(self, site: int, peer: int, for_ns: int) -> bool: ...
    def truncate(self, site: int, peer: int) -> bool: ...
    def corrupt(self, site: int, peer: int, header: bool) -> bool: ...
    def tamper(self, site: int, tamper: Callable[[bytes], bytes]) -> None: ...
    def storm(
        self, *, faults: list[str], count: int, from_ns: int, until_ns: int, longest_ns: int
    ) -> list[str]: ...
    def trace_hash(self) -> int: ...
    def log(self) -> list[str]: ...

class SimChannel:
    """Takes the stream over."""

    def __init__(self, stream: SimStream) -> None: ...
    def send(self, fields: dict[str, int], payload: bytes) -> None: ...
    def flush(self) -> None: ...
    def flushed(self) -> bool: ...
    def receive(self, max_payload: int) -> tuple[dict[str, int], bytes] | None: ...
    def between_frames(self) -> bool: ...
    def bytes_sent(self) -> int: ...
    def bytes_received(self) -> int: ...

def frame_header(**fields: int) -> bytes: ...
def parse_frame_header(header: bytes) -> dict[str, int]: ...
def crc32c(data: bytes) -> int: ...

class WanSite:
    """One emulated site: its TUN device's descriptor, its IPv4 address as a number.

    Rates of 0 are unlimited.
    """

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
    """Nothing passes between `site` and `other` (None: anybody) from `after_ns` on.

    It ends after `length_ns` (None: never).
    """

    def __init__(
        self, *, site: int, other: int | None, after_ns: int, length_ns: int | None
    ) -> None: ...

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
) -> list[WanCount]:
    """Carry packets, without the GIL, until a descriptor in `stop` is readable or closed.

    Raises ValueError for bad settings.
    """

def wan_departures(
    *, rate_bps: float, depth_ns: int, times_ns: Sequence[int], sizes: Sequence[int]
) -> list[int | None]:
    """When packets leave one of the emulator's queues; None: dropped. For tests."""

def wan_lost(*, loss: float, seed: int, packets: int, segments: int) -> list[int]:
    """Which segments are lost of `packets` packets of `segments` segments each. For tests."""

def wan_shape(packet: bytes) -> dict[str, int] | None:
    """target, segments, wire_bytes of a packet as TUN gives it; None: no IPv4. For tests."""

def wan_pieces(packet: bytes, *, lost: Sequence[int]) -> list[bytes]:
    """What is left of a packet without its lost segments. For tests."""

def codec_table_hash() -> int:
    """Changes when ids, names or formats do."""

def codec_implementations() -> list[str]:
    """What this processor can run, plainest first."""

def schedule(
    algorithm: str, *, rank: int, world: int, elements: int, block: int, root: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """One rank's part in a collective: its sends, receives and sums, spans as (begin, count)."""

def choose(world: int, segments: Sequence[tuple[str, str, int]]) -> str:
    """The schedule that "auto" stands for."""

def check_schedule(algorithm: str, *, segments: Sequence[tuple[str, str, int]]) -> None:
    """ValueError, with the reason, where the codecs cannot take the schedule."""

class Slice:
    """A slice on its way out."""

    @property
    def transfer(self) -> int: ...
    @property
    def offset(self) -> int: ...
    def wire(self) -> bytes:
        """Its bytes, copied now. Not after sent()."""

class Executor:
    """One rank's part in a collective, driven by hand: for tests. ValueError for whatever a peer
    may not do.
    """

    def __init__(
        self,
        algorithm: str,
        *,
        rank: int,
        world: int,
        wire: bytes,
        segments: Sequence[tuple[str, str, int]],
        weights: Sequence[float],
        mean: bool,
        slice_elements: int,
        root: int = 0,
    ) -> None: ...
    def start(self) -> None: ...
    def next(self, peer: int) -> Slice | None: ...
    def has_next(self, peer: int) -> bool: ...
    def sent(self, slice: Slice) -> None: ...
    def place(self, peer: int, transfer: int, offset: int, bytes: int) -> memoryview:
        """Where to write the slice. Alive as long as the executor."""
    def arrived(self, peer: int, transfer: int, offset: int) -> None: ...
    def output_ready(self) -> bool: ...
    def output_finite(self) -> bool: ...
    def input_free(self) -> bool: ...
    def finished(self) -> bool: ...
    def waits_for(self, peer: int) -> bool: ...
    def output(self) -> NDArray[np.float32]:
        """A copy of the output as it stands."""

# For `python -m isthmus.simulation` and its tests: whole sites in the simulator.

def simulate(seed: int, **settings: Any) -> dict[str, Any]:
    """A world drawn by the seed, run to its end and judged; csrc/simulation."""
