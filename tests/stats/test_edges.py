"""Every function over impossible and extreme samples: no warning, no NaN, a reason for whatever is missing."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
import warnings

import numpy as np
import pytest

from stats.effects import (
    difference_of_means,
    difference_of_proportions,
    non_inferiority,
    non_inferiority_of_proportions,
    proportions,
    ratio_of_proportions,
    relative,
)
from stats.samples import Sample, stack

SAMPLES = [
    Sample.of(n, mean if n else np.nan, variance if n > 1 else np.nan)
    for n in (0, 1, 2, 50)
    for mean in (-5.0, -1e-9, 0.0, 1e-9, 0.5, 1e8)
    for variance in (0.0, 1e-20, 1e-3, 1e6)
]
COUNTS = [(x, n) for n in (0, 1, 2, 5, 40, 10**6) for x in sorted({0, 1, n // 2, n - 1, n}) if 0 <= x <= n]


def complete(value: object, names: tuple[str, ...]) -> bool:
    """Whether every named figure is a finite number, or there is a reason."""
    figures = [getattr(value, name) for name in names]
    assert all(figure is None or np.isfinite(figure) for figure in figures)
    return getattr(value, "why", None) is not None or None not in figures


def test_amounts() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        every = stack(SAMPLES)
        control, variant = every[:, None], every[None, :]
        for compare in (difference_of_means, relative):
            for effect in compare(control, variant).values():
                assert complete(effect, ("estimate", "std_error", "df", "ci_low", "ci_high", "p_value"))
        for share in (True, False):
            guardrail = non_inferiority(control, variant, 0.1, relative=share)
            for index in np.ndindex(len(SAMPLES), len(SAMPLES)):
                assert complete(guardrail.value(*index), ("p_value", "p_value_broken"))


def test_outcomes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs = list(itertools.product(COUNTS, COUNTS))
        control = proportions([c[0] for c, _ in pairs], [c[1] for c, _ in pairs])
        variant = proportions([v[0] for _, v in pairs], [v[1] for _, v in pairs])
        for compare, alpha in itertools.product((difference_of_proportions, ratio_of_proportions), (0.05, 1e-4)):
            for effect in compare(control, variant, alpha).values():
                assert complete(effect, ("estimate", "std_error", "ci_low", "ci_high", "p_value"))
                if effect.ci_low is not None:
                    assert effect.ci_low <= effect.estimate <= effect.ci_high
        for share, direction in itertools.product((True, False), ("increase", "decrease")):
            guardrail = non_inferiority_of_proportions(control, variant, 0.3, relative=share, direction=direction)
            for i in range(len(pairs)):
                assert complete(guardrail.value(i), ("p_value", "p_value_broken"))


def test_results_are_frozen() -> None:
    effect = difference_of_means(SAMPLES[-1], SAMPLES[-2])
    with pytest.raises(dataclasses.FrozenInstanceError):
        effect.estimate = np.zeros(())  # type: ignore[misc]


def test_the_package_imports_nothing_heavy() -> None:
    """scipy.stats takes 2 s of CPU, statsmodels 3 to 5; neither may come in by the way."""
    modules = "moments samples adjustment effects srm multiplicity sequential decision bayes random_effects shrinkage"
    modules += " interactions decision_power"
    code = f"import sys; [__import__('stats.' + m) for m in {modules.split()!r}]; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"pandas", "scipy.stats", "scipy.optimize", "statsmodels", "duckdb", "ibis", "sqlalchemy"}
    assert "allocation" not in loaded
    assert "experiments" not in loaded
