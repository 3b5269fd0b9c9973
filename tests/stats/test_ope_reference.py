"""Off-policy values and errors equal those of obp 0.5.7 on the same inputs (../shared/reference/ope_reference.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stats.ope import Estimate, Logged, diagnostics, dm, dr, dros, estimates, ips, sndr, snips, sub_gaussian, switch_dr

pytestmark = pytest.mark.shared

EXACT = 1e-9


@pytest.fixture(scope="module")
def document(shared_dir: Path) -> dict[str, Any]:
    path = shared_dir / "reference" / "ope_reference.json"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def logged(document: dict[str, Any]) -> Logged:
    inputs = document["inputs"]
    return Logged.of(inputs["reward"], inputs["action"], inputs["pscore"], inputs["pi_e"], inputs["q_hat"])


def computed(logged: Logged) -> dict[str, Estimate]:
    assert logged.q_logged is not None
    assert logged.v is not None
    rows = (logged.reward, logged.weight)
    model = (*rows, logged.q_logged, logged.v)
    return {
        "ips": ips(*rows),
        "ips_clip5": ips(*rows, clip=5.0),
        "snips": snips(*rows),
        "dm": dm(logged.v),
        "dr": dr(*model),
        "dr_clip5": dr(*model, clip=5.0),
        "sndr": sndr(*model),
        "switch_dr_tau2": switch_dr(*model, tau=2.0),
        "dros_lambda1": dros(*model, strength=1.0),
        "dros_lambda10": dros(*model, strength=10.0),
        "sg_ips_0.1": sub_gaussian(*rows, strength=0.1),
        "sg_dr_0.1": sub_gaussian(*model, strength=0.1),
    }


def test_every_estimator_equals_obp(document: dict[str, Any], logged: Logged) -> None:
    found = computed(logged)
    assert found.keys() == document["estimates"].keys()
    for name, expected in document["estimates"].items():
        assert found[name].value == pytest.approx(expected["obp_value"], abs=EXACT), name
        assert found[name].std_error == pytest.approx(expected["own_wald_se"], abs=EXACT), name
        # The file rounds the normal quantile to 1.959964.
        assert [found[name].ci_low, found[name].ci_high] == pytest.approx(expected["wald95"], abs=EXACT), name


def test_intervals_are_near_the_bootstrap_of_obp(document: dict[str, Any], logged: Logged) -> None:
    for name, found in computed(logged).items():
        bootstrap = document["estimates"][name]["obp_bootstrap95_seed12345_B1000"]
        assert found.std_error is not None
        # An end of 1,000 resamples' interval is itself uncertain by about a tenth of a standard error.
        assert found.ci_low == pytest.approx(bootstrap["95.0% CI (lower)"], abs=0.35 * found.std_error), name
        assert found.ci_high == pytest.approx(bootstrap["95.0% CI (upper)"], abs=0.35 * found.std_error), name


def test_diagnostics_equal_the_reference(document: dict[str, Any], logged: Logged) -> None:
    found = diagnostics(logged.weight)
    assert found.ess == pytest.approx(document["ess"], rel=EXACT)
    assert found.max_weight == pytest.approx(document["max_w"], rel=EXACT)
    assert found.mean_weight == pytest.approx(document["mean_w"], rel=EXACT)
    assert not found.off
    assert not found.thin


def test_all_estimates_at_once_are_the_single_ones(logged: Logged) -> None:
    assert logged.q_logged is not None
    assert logged.v is not None
    both = estimates(logged, tau=2.0, strength=10.0)
    single = computed(logged)
    pairs = {"switch_dr": "switch_dr_tau2", "dros": "dros_lambda10", "sub_gaussian": "sg_dr_0.1"}
    for name, found in both.items():
        assert found == single[pairs.get(name, name)]


def test_the_model_alone_misses_the_truth_and_says_nothing_of_it(document: dict[str, Any], logged: Logged) -> None:
    truth = document["true_value_of_pi_e_on_these_contexts"]
    found = computed(logged)
    covered = {name for name, one in found.items() if one.ci_low <= truth <= one.ci_high}
    assert "dm" not in covered
    assert {"ips", "snips", "dr", "sndr"} <= covered
    assert np.isclose(document["on_policy_mean"], logged.reward.mean())
