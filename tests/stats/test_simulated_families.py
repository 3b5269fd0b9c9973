"""The simulations behind docs/statistics-several.md and docs/statistics-bayes.md hold their goals."""

from __future__ import annotations

import pytest

from bench.simulations import bayes, several


@pytest.mark.slow
def test_families_decisions_waves_and_segments_hold_their_goals() -> None:
    """Seed fixed; each goal with two standard errors of its simulation allowed."""
    missed = [figure for figure in several.run() if not figure.met]
    assert not missed, missed


@pytest.mark.slow
def test_bayesian_promises_hold() -> None:
    """Seed fixed; each goal with two standard errors of its simulation allowed."""
    missed = [figure for figure in bayes.run() if not figure.met]
    assert not missed, missed
