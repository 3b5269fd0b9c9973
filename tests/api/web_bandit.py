"""The report of a policy that learns, for page tests: computed from a small log of a shop whose truth is known."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.log.rows import DAY_US
from experiments.report.build import build_report
from experiments.report.document import Report
from experiments.store import open_store
from experiments.store.migrate import upgrade
from tests.experiments.measuring import START_US, record
from tests.experiments.test_bandit_report import defined, learned_versions, log_of


def learned(n: int = 3_000) -> Report:
    """Return the report."""
    with TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'equipoise.sqlite'}")
        upgrade(store)
        defined(store)
        record(store, log_of(n), START_US + 60 * DAY_US)
        learned_versions(store)
        found = build_report(store, "winback", START_US + 42 * DAY_US)
        store.close()
    return found
