"""What all tests share: tests that need the WAN emulator are skipped aloud where it cannot run."""

import signal

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wan = [item for item in items if item.get_closest_marker("wan")]
    if not wan:
        return
    from isthmus.wan import why_not

    reason = why_not()
    if reason:
        for item in wan:
            item.add_marker(pytest.mark.skip(reason=reason))


# A suite started in the background inherits an ignored SIGINT, and would hand it to its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
