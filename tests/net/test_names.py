"""Names of hosts that are found slowly, over real sockets."""

import isthmus
import pytest
from isthmus import _core, testing
from isthmus.session import Session


def test_a_site_whose_coordinator_s_name_is_found_slowly_is_heard_by_the_others() -> None:
    assert _core.heard_while_looking_up(seconds=4, heartbeat=0.5)


def test_sites_meet_at_a_coordinator_that_has_a_name() -> None:
    keeper = _core.Coordinator(listen="127.0.0.1:0")
    port = keeper.address.rpartition(":")[2]
    session = Session(testing.settings("aws", 1, f"localhost:{port}"))
    assert session.sites == ("aws",)
    session.close()
    keeper.close()


def test_a_coordinator_whose_name_is_not_found_is_a_timeout_that_names_it() -> None:
    with pytest.raises(isthmus.Timeout, match=r"nobody\.invalid"):
        Session(testing.settings("aws", 1, "nobody.invalid:7000", timeout=1))
