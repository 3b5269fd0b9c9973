"""The simulation of the gate holds its goals."""

from __future__ import annotations

import pytest

from bench.simulations.gate import run


@pytest.mark.slow
def test_gate_blocks_harm_and_passes_gains() -> None:
    """Seed fixed; each goal with two standard errors of its simulation allowed."""
    missed = [figure for figure in run(runs=6) if not figure.met]
    assert not missed, missed
