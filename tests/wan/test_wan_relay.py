"""Real processes and kernel TCP, with pairs of sites between which nothing passes."""

from pathlib import Path

import pytest
from emulated import Wan

pytestmark = pytest.mark.wan

PROGRAM = Path(__file__).with_name("relay_program.py")
ELEMENTS = 300_000
# Site 0 keeps the roster, so all must reach it, and it is the third site of any two.


@pytest.mark.parametrize(("sites", "pair", "third"), [(3, (1, 2), 0), (4, (1, 3), 0)])
def test_sites_that_cannot_connect_are_connected_by_a_third(
    wan: Wan, sites: int, pair: tuple[int, int], third: int
) -> None:
    a, b = pair
    options = ("--sites", str(sites), "--rtt-ms", "10", "--cut", f"0:{a}-{b}")
    outcome = wan.run(*options, run=[wan.python, str(PROGRAM), str(ELEMENTS), "2"])
    assert outcome.status == 0 and len(outcome.told) == sites, outcome.errors
    for site, told in outcome.told.items():
        assert told["relayed"] == [[f"site{a}", f"site{b}", f"site{third}"]], told
        relayed = {f"site{other}" for other in pair if site in pair and other != site}
        assert {name for name, by in told["ways"].items() if by} == relayed
        assert (told["relayed_bytes"] > 0) == (site == third)
    assert f"site{b} by way of site{third}" in outcome.told[a]["text"]
    assert "carried between other sites" in outcome.told[third]["text"]
    assert f'by way of "site{third}"' in outcome.errors
