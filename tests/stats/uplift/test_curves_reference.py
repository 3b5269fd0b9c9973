"""The uplift cases of ../shared/reference/uplift_reference.json; computed there in fractions, and by the libraries."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stats.uplift import conversions
from stats.uplift.curves import Kind, UpliftCurve, uplift_at, uplift_curve
from stats.uplift.policy_curve import policy_curve

pytestmark = pytest.mark.shared
KINDS: tuple[tuple[str, Kind], ...] = (("q", "qini"), ("g", "gain"), ("ipw", "ipw"))
CAUSALML = ("auuc_score", "qini_score")
NUMBERS = ("recency", "history", "mens", "womens", "newbie")
EXACT = {"rel": 1e-9, "abs": 1e-12}


@pytest.fixture(scope="module")
def reference(shared_dir: Path) -> dict[str, Any]:
    path = shared_dir / "reference" / "uplift_reference.json"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def rows(reference: dict[str, Any]) -> tuple[np.ndarray, ...]:
    inputs = reference["uplift_binary"]["input"]
    return tuple(np.asarray(inputs[name], dtype=float) for name in ("y", "w", "score"))


@pytest.fixture(scope="module")
def curve(rows: tuple[np.ndarray, ...]) -> UpliftCurve:
    return uplift_curve(*rows)


def test_points(reference: dict[str, Any], curve: UpliftCurve) -> None:
    expected = np.asarray(reference["uplift_binary"]["curve"]["points"])
    assert np.column_stack((curve.share, curve.qini, curve.gain, curve.ipw)) == pytest.approx(expected, **EXACT)


def test_areas(reference: dict[str, Any], curve: UpliftCurve) -> None:
    output = reference["uplift_binary"]["output"]
    assert curve.gain[-1] == pytest.approx(output["ate"]["value"], **EXACT)
    for short, kind in KINDS:
        assert curve.auuc(kind) == pytest.approx(output[f"auuc_{short}"]["value"], **EXACT)
        assert curve.qini_coefficient(kind) == pytest.approx(output[f"qini_{short}"]["value"], **EXACT)


@pytest.mark.parametrize("by_group", [False, True])
def test_uplift_in_the_top_share(reference: dict[str, Any], rows: tuple[np.ndarray, ...], by_group: bool) -> None:
    expected = reference["uplift_binary"]["output"][f"uplift_at_k_{'by_group' if by_group else 'overall'}"]
    found = {share: uplift_at(*rows, float(share), by_group=by_group) for share in expected}
    assert found == pytest.approx(expected, **EXACT)


def test_a_constant_score_is_worth_exactly_nothing(reference: dict[str, Any], rows: tuple[np.ndarray, ...]) -> None:
    y, w, _ = rows
    constant = uplift_curve(y, w, np.full(len(y), 0.5))
    assert constant.qini_coefficient() == reference["uplift_constant_score"]["output"]["qini_q"] == 0.0
    assert constant.auuc() == pytest.approx(reference["uplift_constant_score"]["output"]["auuc_g"], **EXACT)


def test_policy_curve(reference: dict[str, Any]) -> None:
    case = reference["profit_policy"]
    inputs, output = case["input"], case["output"]
    found = policy_curve(
        inputs["y"],
        inputs["w"],
        inputs["propensity"],
        inputs["score"],
        margin=inputs["margin_per_order"],
        face_value=inputs["offer_face_value"],
        redeemed=inputs["redeemed"],
        contact=inputs["contact_cost"],
    )
    assert np.column_stack((found.share, found.value)) == pytest.approx(np.asarray(output["curve"]), **EXACT)
    assert found.best_share == pytest.approx(output["best_fraction"], **EXACT)
    assert found.best_value == pytest.approx(output["best_value"], **EXACT)
    assert found.none == pytest.approx(output["treat_none"], **EXACT)
    assert found.all == pytest.approx(output["treat_all"], **EXACT)


def test_scikit_uplift_on_the_same_rows(reference: dict[str, Any], rows: tuple[np.ndarray, ...]) -> None:
    y, w, score = rows
    for case, scores in (("reference", score), ("constant", np.full(len(y), 0.5))):
        curve, expected = uplift_curve(y, w, scores), reference["_library_values"]["sklift_0.5.1"][case]
        found = {
            "sklift 0.5.1 qini_auc_score(negative_effect=True)": conversions.sklift_qini_auc_score(y, w, scores),
            "sklift qini_auc_score(negative_effect=False)": conversions.sklift_qini_auc_score(
                y, w, scores, negative_effect=False
            ),
            "sklift uplift_auc_score": conversions.sklift_uplift_auc_score(y, w, scores),
            "sklift raw AUQC (auc of qini_curve)": conversions.sklift_qini_area(
                curve.qini_coefficient(), curve.gain[-1], len(y), int(w.sum())
            ),
            "sklift raw AUUC (auc of uplift_curve)": conversions.sklift_uplift_area(curve.auuc(), len(y)),
        }
        assert found == pytest.approx({name: expected[name] for name in found}, **EXACT)


def test_causalml_on_the_same_rows(reference: dict[str, Any], rows: tuple[np.ndarray, ...]) -> None:
    """It goes by the order of the rows where scores are equal, so a ranking without ties in that order is the same.

    Where one arm is still absent there is no effect yet. On these rows that is the first: we count the absent mean as
    0, so an effect of 1, and causalml draws a line from 0 to the effect of 1 at the second row, so a half.
    """
    y, w, _ = rows
    curve = uplift_curve(y, w, -np.arange(len(y)))
    effect, n, treated = float(curve.gain[-1]), len(y), int(w.sum())
    qini, auuc, half = curve.qini_coefficient(), curve.auuc(), 0.5 / (n + 1)
    raw = [
        conversions.causalml_auuc(auuc, effect, n, normalize=False),
        conversions.causalml_qini(qini, effect, n, treated, normalize=False),
    ]
    values = reference["_library_values"]["causalml_0.18.0"]
    expected = values["reference"]
    found = [value - half for value in raw if value is not None]
    assert found == pytest.approx([expected[f"causalml {name}(normalize=False)"] for name in CAUSALML], **EXACT)
    assert conversions.causalml_auuc(auuc, effect, n) == pytest.approx(raw[0] / (n * effect), **EXACT)
    assert conversions.causalml_qini(qini, effect, n, treated) == pytest.approx(raw[1] / (treated * effect), **EXACT)
    assert values["constant"] == expected  # which is why we make one point of equal scores


@pytest.fixture(scope="module")
def hillstrom(shared_dir: Path) -> tuple[np.ndarray, ...]:
    """The rows and scores that the libraries were given: Womens against No E-Mail, visit, a held-out half.

    Seed 0, stratified by arm and visit; a logistic regression in each arm on standardised columns.
    """
    path = shared_dir / "data" / "hillstrom.csv.gz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        customers = [row for row in csv.DictReader(lines) if row["segment"] != "Mens E-Mail"]
    numbers = {name: np.array([float(row[name]) for row in customers]) for name in NUMBERS}
    numbers["history"] = np.log1p(numbers["history"])
    levels = [
        np.array([row[name] == level for row in customers], dtype=float)
        for name in ("zip_code", "channel")
        for level in sorted({row[name] for row in customers})
    ]
    features = np.column_stack((*numbers.values(), *levels))
    treated = np.array([row["segment"] == "Womens E-Mail" for row in customers])
    visit = np.array([float(row["visit"]) for row in customers])
    seen, held = train_test_split(np.arange(len(visit)), test_size=0.5, random_state=0, stratify=2 * treated + visit)
    predicted = [
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        .fit(features[seen][treated[seen] == arm], visit[seen][treated[seen] == arm])
        .predict_proba(features[held])[:, 1]
        for arm in (False, True)
    ]
    return visit[held], treated[held], predicted[1] - predicted[0]


def test_hillstrom(reference: dict[str, Any], hillstrom: tuple[np.ndarray, ...]) -> None:
    expected = reference["_library_values"]["ours_hillstrom_same_score"]
    curve = uplift_curve(*hillstrom)
    found = {"ate": curve.gain[-1], "n": len(hillstrom[0]), "NT": int(hillstrom[1].sum())}
    for short, kind in KINDS:
        found |= {f"auuc_{short}": curve.auuc(kind), f"qini_{short}": curve.qini_coefficient(kind)}
    found |= {f"u{percent}": uplift_at(*hillstrom, percent / 100) for percent in (10, 20, 30)}
    assert found == pytest.approx(expected, **EXACT)


def test_both_libraries_on_hillstrom(reference: dict[str, Any], hillstrom: tuple[np.ndarray, ...]) -> None:
    values, (y, w, score) = reference["_library_values"], hillstrom
    curve, n, treated = uplift_curve(y, w, score), len(y), int(w.sum())
    effect = float(curve.gain[-1])
    sklift = {
        "sklift 0.5.1 qini_auc_score(negative_effect=True)": conversions.sklift_qini_auc_score(y, w, score),
        "sklift qini_auc_score(negative_effect=False)": conversions.sklift_qini_auc_score(
            y, w, score, negative_effect=False
        ),
        "sklift uplift_auc_score": conversions.sklift_uplift_auc_score(y, w, score),
        "sklift raw AUQC (auc of qini_curve)": conversions.sklift_qini_area(
            curve.qini_coefficient(), effect, n, treated
        ),
        "sklift raw AUUC (auc of uplift_curve)": conversions.sklift_uplift_area(curve.auuc(), n),
    }
    expected = values["sklift_0.5.1"]["hillstrom"]
    assert sklift == pytest.approx({name: expected[name] for name in sklift}, **EXACT)
    qini, auuc = curve.qini_coefficient(), curve.auuc()
    causalml = {
        "causalml 0.18.0 auuc_score(normalize=True)": conversions.causalml_auuc(auuc, effect, n),
        "causalml auuc_score(normalize=False)": conversions.causalml_auuc(auuc, effect, n, normalize=False),
        "causalml qini_score(normalize=True)": conversions.causalml_qini(qini, effect, n, treated),
        "causalml qini_score(normalize=False)": conversions.causalml_qini(qini, effect, n, treated, normalize=False),
    }
    # Some customers are alike and so are their scores. causalml goes by the order in which pandas' unstable sort leaves
    # them, so it has figures of its own there.
    assert causalml == pytest.approx(values["causalml_0.18.0"]["hillstrom"], rel=2e-5)
