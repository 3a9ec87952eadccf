"""What stays known of measured links when other sites take part."""

import pytest
from isthmus.links import Links

NAMES = ("a", "b", "c", "d")
MBYTE = 1e6


def measured() -> Links:
    """Every number another one."""
    return Links(
        sites=NAMES,
        uplink=(10 * MBYTE, 20 * MBYTE, 30 * MBYTE, 90 * MBYTE),
        downlink=(11 * MBYTE, 21 * MBYTE, 31 * MBYTE, 91 * MBYTE),
        pair=tuple(tuple((1 + 4 * a + b) * MBYTE for b in range(4)) for a in range(4)),
        delay=tuple(tuple(abs(a - b) * 0.01 + 0.001 * a for b in range(4)) for a in range(4)),
    )


@pytest.mark.parametrize("sites", [("a", "b", "c", "d", "e"), ("aa", "b", "d"), ("d", "c"), NAMES])
def test_pairs_that_were_measured_keep_their_numbers_at_their_new_ranks(
    sites: tuple[str, ...],
) -> None:
    old = measured()
    new = old.among(sites)
    assert new is not None and new.sites == sites
    for a, x in enumerate(sites):
        if x in NAMES:
            assert new.uplink[a] == old.uplink[NAMES.index(x)]
            assert new.downlink[a] == old.downlink[NAMES.index(x)]
        for b, y in enumerate(sites):
            if a != b and x in NAMES and y in NAMES:
                assert new.pair[a][b] == old.pair[NAMES.index(x)][NAMES.index(y)]
                assert new.delay[a][b] == old.delay[NAMES.index(x)][NAMES.index(y)]
    new.native()  # the numbers are some that a network can have


def test_a_new_site_has_median_ends_and_the_longest_delay_of_those_that_are_still_there() -> None:
    old = measured()
    new = old.among(("a", "b", "c", "e"))  # without d, whose ends and delays are the largest
    assert new is not None
    assert (new.uplink[3], new.downlink[3]) == (20 * MBYTE, 21 * MBYTE)
    assert {new.delay[3][rank] for rank in range(3)} == {old.delay[2][0]}
    assert {new.delay[rank][3] for rank in range(3)} == {old.delay[2][0]}
    assert new.pair[0][3] == 10 * MBYTE and new.pair[3][0] == 11 * MBYTE
    assert new.pair[2][3] == 21 * MBYTE and new.pair[3][2] == 20 * MBYTE


def test_of_one_site_that_is_left_nothing_is_known() -> None:
    assert measured().among(("a", "e", "f")) is None
    assert measured().among(()) is None
