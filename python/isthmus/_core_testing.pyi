"""The part of _core.pyi that only tests use. There is no module of this name at run time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

class SliceBuffers:
    """A pool; what it lends is known by numbers, and has been written to."""

    def take(self, bytes: int) -> int: ...
    def give_back(self, number: int) -> None: ...
    @property
    def idle_bytes(self) -> int: ...
    long_time: int

class Buffers:
    """The same."""

    def take(self, bytes: int) -> int: ...
    def give_back(self, number: int) -> None: ...
    @property
    def idle_bytes(self) -> int: ...
    long_time: int

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

def sim_epochs(
    *, sites: list[dict[str, Any]], coordinators: list[tuple[float, float]], end: float, seed: int
) -> list[dict[str, Any]]:
    """Sites that train, die and are replaced, as their coordinators see them: where each has come
    to at the end."""

def simulate_run(
    seed: int,
    *,
    sabotage: str = "",
    calm: bool = False,
    streams: bool = True,
    log_events: int = 0,
) -> dict[str, Any]:
    """Sites that train over epochs, die and come back: what was drawn, what happened, and "broken".

    sabotage: a mistake that is made on purpose (csrc/simulation/run_plan.hpp). calm: nothing goes
    wrong. streams false: nothing happens to single data streams.
    """

def heard_while_looking_up(*, seconds: float, heartbeat: float) -> bool:
    """Whether a site that looks for a coordinator, whose name takes so long to find, is still heard
    by another one."""

def mesh_payload_decodes(*, kind: str, payload: bytes) -> bool | str:
    """Whether a decoded payload of this kind encodes to the same bytes; a "refuse"'s text.
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
    def block(self, site: int, peer: int, refuse: bool) -> None: ...
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
def crc32c(data: bytes, crc: int = 0, way: int = -1) -> int:
    """Of what crc is of, and then data. way: 0 tables, 1 instruction, 2 folding; ValueError: this
    machine has not that one."""

def schedule(
    algorithm: str,
    *,
    rank: int,
    world: int,
    elements: int,
    block: int,
    root: int = 0,
    shares: Sequence[int] = (),
    order: Sequence[int] = (),
) -> dict[str, list[dict[str, Any]]]:
    """One rank's part in a collective: its sends, receives and sums, spans as (begin, count)."""

def choose(world: int, segments: Sequence[tuple[str, str, int]]) -> str:
    """The schedule that "auto" stands for."""

def chosen_slice(world: int, segments: Sequence[tuple[str, str, int]], *, one_machine: bool) -> int:
    """A slice's elements where no links were measured."""

def check_schedule(algorithm: str, *, segments: Sequence[tuple[str, str, int]]) -> None:
    """ValueError, with the reason, where the codecs cannot take the schedule."""

def copy_finite(
    x: NDArray[np.float32], out: NDArray[np.float32], *, implementation: str | None = None
) -> bool:
    """kernels/codecs/finite.hpp."""

class Pacer:
    """csrc/session/pacer.hpp."""

    def __init__(self, all: float, peers: list[float]) -> None: ...
    def ready_ns(self, peer: int, now_ns: int) -> int: ...
    def spend(self, peer: int, bytes: int) -> None: ...

class Membership:
    """Which sites go on, as one of them sees it. A census: (roster, out, lost, lawful), a bit a
    rank."""

    def __init__(
        self,
        rank: int,
        world: int,
        *,
        favourite: int = -1,
        min_sites: int = 1,
        patience: int = 1,
        waits: bool = False,
    ) -> None: ...
    def lose(self, peer: int) -> None: ...
    def hear(self, peer: int, census: tuple[int, int, int, int]) -> bool: ...
    def decide(self, now: int) -> bool: ...
    def settle(self) -> str:
        """ "waits", "installed", "given_up" or "too_few"."""
    @property
    def deadline(self) -> int: ...
    @property
    def census(self) -> tuple[int, int, int, int]: ...
    @property
    def stuck(self) -> bool: ...
    @property
    def roster(self) -> list[int]: ...
    @property
    def generation(self) -> int: ...

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
        terms: bool = False,
        threads: int = 0,
    ) -> None:
        """threads: that compute; 0: work waits for compute()."""
    def start(self) -> None: ...
    def next(self, peer: int, *, sums_first: bool = False) -> Slice | None: ...
    def has_next(self, peer: int) -> bool: ...
    def sent(self, slice: Slice) -> None: ...
    def place(self, peer: int, transfer: int, offset: int, bytes: int) -> memoryview:
        """Where to write the slice. Alive as long as the executor."""
    def arrived(self, peer: int, transfer: int, offset: int) -> None: ...
    def take(self, peer: int, transfer: int, offset: int, wire: bytes) -> None:
        """place() and arrived() in one, of a slice that lies in a buffer of the pool."""
    def to_compute(self) -> int:
        """How many pieces of work wait."""
    def compute(self, at: int) -> None:
        """Do one of them."""
    def drain(self) -> None:
        """Do all of them, or wait for the threads."""
    def output_ready(self) -> bool: ...
    def input_free(self) -> bool: ...
    def finished(self) -> bool: ...
    def waits_for(self, peer: int) -> bool: ...
    def output(self) -> NDArray[np.float32]:
        """A copy of the output as it stands."""
    def terms(self) -> list[bytes]:
        """Copies of the terms' wires as they stand."""
    def term_sum(self) -> tuple[list[float], float]:
        """Their weights, and the divisor."""

# For `python -m isthmus.simulation` and its tests: whole sites in the simulator.

def simulate(seed: int, **settings: Any) -> dict[str, Any]:
    """A world drawn by the seed, run to its end and judged; csrc/simulation."""
