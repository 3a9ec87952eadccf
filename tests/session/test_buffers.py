"""Memory of the session's pools: kept as long as it is used, and then the system's again."""

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


def resident_bytes() -> int:
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if x[:6] == "VmRSS:"]
    return int(line.split()[1]) * 1024


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
    for _ in range(pool.long_time):
        use(pool, *[MIB // 16] * 8)
    assert MIB // 2 <= pool.idle_bytes < MIB


@pools
def test_a_pool_that_ends_leaves_nothing_with_malloc(make: Callable[[], Pool]) -> None:
    """Which would keep it for the thread, once it has seen larger blocks freed."""
    large = np.ones(24 * MIB, np.uint8)
    del large
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


def test_a_fresh_array_goes_back_to_the_system() -> None:
    before = resident_bytes()
    array = fresh(32 * MIB, np.uint8)
    array[:] = 1
    view = array[1:].view()
    del array
    assert resident_bytes() - before > 24 * MIB
    assert view.all()
    del view
    assert resident_bytes() - before < 4 * MIB
