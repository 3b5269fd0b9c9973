"""A test that lacks a component skips loudly; in continuous integration (``CI=true``) such a skip fails the run."""

from __future__ import annotations

import os

import pytest


class SkipsFail:
    """Count what was skipped and turn a good exit into a bad one."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a skip (not an expected failure)."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run where something that CI must have was missing."""
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say so."""
        for nodeid in self.skipped:
            terminalreporter.write_line(f"SKIPPED IN CI, which counts as a failure: {nodeid}", red=True)


def register(config: pytest.Config) -> None:
    """Switch it on where ``CI`` is set, in the process that reports."""
    if os.environ.get("CI", "").lower() in {"1", "true"} and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipsFail(), "skips-fail")
