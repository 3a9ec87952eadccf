"""The native core, as Python sees it."""

from collections.abc import Sequence
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
    def done(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> None:
        """Returns when done; raises the operation's error; Timeout after `timeout` seconds (the operation goes on).
        Lets signals through."""
    def gathered(self) -> list[bytes]:
        """What all_gather brought, by rank."""
    def notify(self) -> None:
        """Put this work into the session's completions once it is done (at once if it is)."""

class Session:
    """One site's membership in a run. The constructor joins, and blocks (without the GIL) until all sites are there."""

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
        up: str,
        down: str,
        mean: bool,
        weight: float,
        schedule: str,
        layout: int,
    ) -> Work:
        """All-reduce. `wire`: C-contiguous buffer holding up's wire of out.size elements (for "f32" it may be `out`
        itself). `out` is written once, when the work is done well; until then both stay alive and untouched.
        `layout` is compared between sites."""
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

def encode(
    codec: str,
    x: NDArray[np.float32],
    *,
    out: NDArray[np.uint8] | None = None,
    implementation: str | None = None,
) -> NDArray[np.uint8]:
    """`implementation`: one of codec_implementations(), by default the last; all make the same bytes."""

def decode(
    codec: str,
    wire: Any,
    elements: int,
    *,
    out: NDArray[np.float32] | None = None,
    implementation: str | None = None,
) -> NDArray[np.float32]:
    """`wire`: a C-contiguous buffer of wire_size(codec, elements) bytes; ValueError for any other."""

def decode_add(
    codec: str,
    wire: Any,
    weight: float,
    total: NDArray[np.float32],
    *,
    implementation: str | None = None,
) -> None:
    """total += weight * decoded, each product and each sum rounded to float32. After a ValueError for a malformed
    wire, `total` may hold part of it."""

def wire_size(codec: str, elements: int) -> int: ...
def pieces(codec: str, elements: int, begin: int, count: int) -> list[tuple[int, int]]:
    """(offset, bytes) of each section's share of elements [begin, begin + count), whole blocks, in a wire of
    `elements`."""

def codec_table() -> list[dict[str, Any]]:
    """name, id, block, recodable, identity of each."""

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
    """Sites join in the simulator; coordinators live from each first to its second time, in seconds."""

def mesh_payload_decodes(*, kind: str, payload: bytes) -> bool | str:
    """Whether a decoded "join" or "roster" encodes to the same bytes; a "refuse"'s text. ValueError: not valid."""

def mesh_frame(*, kind: int, payload: bytes) -> bytes: ...
def codec_table_hash() -> int:
    """Changes when ids, names or formats do."""

def codec_implementations() -> list[str]:
    """What this processor can run, plainest first."""
def schedule(
    algorithm: str, *, rank: int, world: int, elements: int, block: int, root: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """One rank's part in a collective: its sends, receives and sums, spans as (begin, count)."""

def choose(world: int, elements: int, up: str, down: str) -> str:
    """The schedule that "auto" stands for."""

def check_schedule(algorithm: str, *, world: int, elements: int, up: str, down: str) -> None:
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
    """One rank's part in a collective, driven by hand: for tests. ValueError for whatever a peer may not do."""

    def __init__(
        self,
        algorithm: str,
        *,
        rank: int,
        world: int,
        wire: bytes,
        elements: int,
        up: str,
        down: str,
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
    def input_free(self) -> bool: ...
    def finished(self) -> bool: ...
    def waits_for(self, peer: int) -> bool: ...
    def output(self) -> NDArray[np.float32]:
        """A copy of the output as it stands."""
