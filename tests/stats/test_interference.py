"""Mixed clusters, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stats.interference import mixing


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 3)), elements=st.integers(0, 4)))
def test_counted_unit_by_unit(counts: np.ndarray) -> None:
    units = [(c, v) for c, row in enumerate(counts) for v, n in enumerate(row) for _ in range(n)]
    exposed, shares = 0, []
    for place, (cluster, variant) in enumerate(units):
        mates = [v for other, (c, v) in enumerate(units) if c == cluster and other != place]
        exposed += any(v != variant for v in mates)
        if mates:
            shares.append(sum(v != variant for v in mates) / len(mates))
    found = mixing(counts)
    assert (found.units, found.exposed) == (len(units), exposed)
    if shares:
        assert found.neighbours == pytest.approx(np.mean(shares))
    else:
        assert found.neighbours is None
    assert found.warns == (len(units) > 0 and exposed / len(units) > 0.05)


def test_assignment_one_by_one_gives_half_and_by_cluster_none() -> None:
    """20,000 households of 3 at an even split: half of the neighbours ± 4 s.e. (.006)."""
    rng = np.random.default_rng(2)
    alone = rng.binomial(3, 0.5, 20_000)
    assert mixing(np.column_stack([alone, 3 - alone])).neighbours == pytest.approx(0.5, abs=0.006)
    whole = 3 * rng.integers(0, 2, 20_000)
    found = mixing(np.column_stack([whole, 3 - whole]))
    assert (found.share_exposed, found.warns, found.mixed) == (0.0, False, 0)


def test_nobody_and_nonsense() -> None:
    nobody = mixing(np.zeros((0, 2), dtype=int))
    assert (nobody.share_exposed, nobody.warns, nobody.neighbours) == (None, False, None)
    with pytest.raises(ValueError, match="shape"):
        mixing([1, 2])
    with pytest.raises(ValueError, match="negative"):
        mixing([[1, -2]])
