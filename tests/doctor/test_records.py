"""Reports travel as JSON, and what is odd about another site's is said."""

import json
from typing import Any

import pytest
from isthmus.doctor import records
from isthmus.doctor.measurements import SiteReport
from isthmus.errors import WireError
from made_up import World

REPORT = World().report("a")


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(records.to_bytes(REPORT)) | fields).encode()


def test_a_report_comes_back_as_it_went() -> None:
    assert records.from_bytes(SiteReport, records.to_bytes(REPORT), site="a") == REPORT


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\xff", "decode"),
        (b"[]", "SiteReport is no object"),
        (b"[" * 100_000, "SiteReport of this doctor"),
        (changed(more=1), "other fields than expected: more"),
        (changed(busy="much"), "SiteReport.busy is 'much', which is no float"),
        (changed(busy=True), "SiteReport.busy"),
        (changed(busy=float("nan")), "SiteReport.busy is 'nan'"),
        (changed(site="a\n"), "SiteReport.site"),
        (changed(site="a" * 9999), "SiteReport.site"),
        (changed(probes={}), "SiteReport.probes is no list"),
        (changed(probes=[{}] * 65), "SiteReport.probes is no list of at most 64"),
        (changed(probes=[1]), r"SiteReport.probes\[0\] is no object"),
        (changed(kernel=None), "SiteReport.kernel is no object"),
    ],
)
def test_what_is_no_report_is_named_with_its_site(data: bytes, what: str) -> None:
    with pytest.raises(WireError, match=what) as caught:
        records.from_bytes(SiteReport, data, site="gcp")
    assert caught.value.peer == "gcp"
    assert "site 'gcp' sent" in str(caught.value)
