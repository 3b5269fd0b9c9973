"""What the system tests share: which of their runs belong to the quick suite."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave a test's second database to the slow suite, unless it says ``quick_on_postgres``.

    Starting real servers is most of what the quick suite takes, and the rooms' own tests run on both databases anyway.
    """
    for item in items:
        call = getattr(item, "callspec", None)
        if call is None or HERE not in item.path.parents:
            continue
        second = "postgres" in (call.params.get("store_url"), call.params.get("database"))
        if second and item.get_closest_marker("quick_on_postgres") is None:
            item.add_marker(pytest.mark.slow)
