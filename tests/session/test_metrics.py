"""What Prometheus reads of a session."""

import re
import urllib.request
from pathlib import Path

import isthmus.metrics
import numpy as np
import pytest
from isthmus import testing
from isthmus.errors import Refused

prometheus = pytest.importorskip("prometheus_client")


def test_a_scrape_has_the_numbers_of_stats_by_site_and_peer() -> None:
    with testing.sites(3, on_loss="continue") as sessions:
        server = isthmus.metrics.serve(sessions[0], 0)
        try:
            for work in [s.all_reduce(np.ones(1000, np.float32)) for s in sessions]:
                work.wait(20)
            url = f"http://127.0.0.1:{server.port}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                text = answer.read().decode()
        finally:
            server.close()
    assert 'isthmus_reduced_bytes_total{site="site00"} 4000.0' in text
    assert 'isthmus_sites{site="site00"} 3.0' in text
    assert 'isthmus_coordinator{site="site00"} 1.0' in text
    assert 'isthmus_events_total{kind="joined",site="site00"} 1.0' in text
    for peer in ("site01", "site02"):
        assert f'isthmus_sent_bytes_total{{peer="{peer}",site="site00"}}' in text
        assert f'isthmus_streams_lost_total{{peer="{peer}",site="site00"}} 0.0' in text
        assert f'isthmus_frames_again_total{{peer="{peer}",site="site00"}} 0.0' in text
    assert "# TYPE isthmus_operations_total counter" in text
    assert "# TYPE isthmus_rtt_seconds gauge" in text


def test_the_page_has_every_metric_that_there_is_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| of a ")]
    told = [name for row in rows for name in re.findall(r"`([a-z]+_?[a-z_]*)`", row)]
    labels = {"kind", "stage"}
    with testing.sites(2) as sessions:
        stats = dict(sessions[0].stats())
    hook = {"session": stats, "stage_seconds": {"clip": 0.0}, "steps": 1, "buckets": 1}
    hook |= {"exchange_seconds": 0.0, "waiting_seconds": 0.0}

    class Source:
        def stats(self) -> dict[str, object]:
            return hook

    found = list(isthmus.metrics.Collector(Source()).collect())
    names = [f"{m.name}_total" if m.type == "counter" else m.name for m in found]
    assert len(rows) == 3
    assert sorted(set(told) - labels) == sorted(name.removeprefix("isthmus_") for name in names)


def test_a_port_that_is_taken_is_refused_by_address() -> None:
    class Nothing:
        def stats(self) -> dict[str, object]:
            return {"session": {}, "stage_seconds": {}} | dict.fromkeys(
                ("steps", "buckets", "exchange_seconds", "waiting_seconds"), 0
            )

    server = isthmus.metrics.serve(Nothing(), 0)
    try:
        with pytest.raises(Refused, match=f"127.0.0.1:{server.port}"):
            isthmus.metrics.serve(Nothing(), server.port)
    finally:
        server.close()
