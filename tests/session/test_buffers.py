"""Memory of the session's pools: kept as long as it is used, and then the system's again."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from isthmus import _core
from isthmus.memory import fresh

MIB = 1 << 20

Pool = _core.SliceBuffers | _core.Buffers
pools = pytest.mark.parametrize("make", [_core.SliceBuffers, _core.Buffers])


# There blocks are malloc's, or nothing goes back at once.
resident = pytest.mark.skipif("san.so" in os.environ.get("LD_PRELOAD", ""), reason="sanitized")


def resident_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("Rss:")]
    return int(line.split()[1]) * 1024


def make_malloc_keep() -> None:
    """What it frees below twice this size: it learns."""
    large = np.ones(24 * MIB, np.uint8)
    del large


def use(pool: Pool, *sizes: int) -> None:
    """All at the same time."""
    for number in [pool.take(size) for size in sizes]:
        pool.give_back(number)


@pools
def test_what_is_given_back_is_lent_again(make: Callable[[], Pool]) -> None:
    pool = make()
    use(pool, MIB, MIB)
    assert pool.idle_bytes == 2 * MIB
    number = pool.take(MIB)
    assert pool.idle_bytes == MIB
    pool.give_back(number)
    assert pool.idle_bytes == 2 * MIB


@pools
def test_what_is_not_needed_for_long_goes_and_what_is_stays(make: Callable[[], Pool]) -> None:
    pool = make()
    use(pool, *[4 * MIB] * 8)
    for _ in range(2 * pool.long_time):
        use(pool, 1024)
    assert pool.idle_bytes < 4 * MIB
    for _ in range(pool.long_time // 8):
        use(pool, *[MIB // 16] * 8)
    assert MIB // 2 <= pool.idle_bytes < MIB


@pools
def test_of_many_that_are_equal_those_go_that_are_not_needed(make: Callable[[], Pool]) -> None:
    pool = make()
    use(pool, *[MIB // 16] * 8)
    for _ in range(2 * pool.long_time):
        use(pool, MIB // 16)
    assert pool.idle_bytes == MIB // 16


@resident
@pools
def test_a_pool_that_ends_leaves_nothing_with_malloc(make: Callable[[], Pool]) -> None:
    """Which would keep it for the thread, once it has seen larger blocks freed."""
    make_malloc_keep()
    both = threading.Barrier(9, timeout=60)

    def live() -> None:
        pool = make()
        use(pool, *[MIB // 4] * 16)
        both.wait()  # threads that live at the same time have malloc's memory each for itself
        both.wait()

    before = resident_bytes()
    threads = [threading.Thread(target=live) for _ in range(8)]
    for thread in threads:
        thread.start()
    both.wait()
    meanwhile = resident_bytes()
    both.wait()
    for thread in threads:
        thread.join()
    assert meanwhile - before > 24 * MIB
    assert resident_bytes() - before < 4 * MIB


@pytest.mark.parametrize("elements", [0, 1, 5 * MIB])
def test_a_fresh_array_is_zero_and_can_be_written_to(elements: int) -> None:
    array = fresh(elements, np.float32)
    assert array.shape == (elements,)
    assert not array.any()
    array += 1
    assert array.sum() == elements


@resident
def test_a_fresh_array_goes_back_to_the_system() -> None:
    make_malloc_keep()
    before = resident_bytes()
    array = fresh(16 * MIB, np.uint8)
    array[:] = 1
    view = array[1:].view()
    del array
    meanwhile = resident_bytes()
    assert view.all()
    del view
    assert meanwhile - before > 12 * MIB
    assert resident_bytes() - before < 4 * MIB
