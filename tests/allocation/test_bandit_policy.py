from __future__ import annotations

import contextlib
import io
import zipfile
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.tree import DecisionTreeRegressor

from allocation.bandits.encoding import Encoded, Encoder, FeatureCode
from allocation.bandits.policy import Policy, from_bytes, sha256_of, to_bytes
from allocation.bandits.uncertainty import Uncertainty
from tests.allocation.bandit_policies import (
    COLUMNS,
    CONTEXTUAL,
    ENCODER,
    TABLES,
    VARIANTS,
    columns_of,
    contextual,
    members,
    table,
)

ROWS = members(400, seed=7)
ENCODED = ENCODER.encode_columns(columns_of(ROWS), len(ROWS))
MASK = np.random.default_rng(8).random((len(ROWS), 5)) < 0.7

EVERY = [
    *(pytest.param(contextual(rule, model), id=f"{rule}-{model}") for rule, model in CONTEXTUAL),
    pytest.param(contextual("igw", "hurdle", amount=np.array([80.0, 70.0, 60.0, 50.0, 40.0])), id="igw-hurdle-fixed"),
    *(pytest.param(table(rule, cells), id=f"{rule}-{cells}") for rule, cells in TABLES),
    pytest.param(Policy(variants=VARIANTS), id="uniform"),
]


@pytest.mark.parametrize("policy", EVERY)
def test_many_at_once_are_each_alone(policy: Policy) -> None:
    scores = policy.scores_batch(ENCODED)
    everybody = policy.probabilities_batch(ENCODED)
    masked = policy.probabilities_batch(ENCODED, MASK)
    for index, row in enumerate(ROWS):
        x = ENCODER.encode(row)
        assert policy.scores(x) == pytest.approx(scores[index], abs=1e-11, rel=1e-12)
        assert policy.probabilities(x, range(5)) == pytest.approx(everybody[index], abs=1e-12)
        eligible = np.flatnonzero(MASK[index]).tolist()
        if eligible:
            assert policy.probabilities(x, eligible) == pytest.approx(masked[index, eligible], abs=1e-12)
        assert (masked[index][~MASK[index]] == 0).all()
    assert everybody.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert masked.sum(axis=1) == pytest.approx(MASK.any(axis=1).astype(float), abs=1e-12)
    assert everybody.min() >= 0


@pytest.mark.parametrize("policy", EVERY)
def test_a_file_gives_back_the_policy(policy: Policy) -> None:
    data = to_bytes(policy)
    again = from_bytes(data)
    assert to_bytes(again) == data
    assert sha256_of(data) == sha256_of(to_bytes(policy))
    assert np.array_equal(policy.probabilities_batch(ENCODED), again.probabilities_batch(ENCODED))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:  # what numpy itself reads, without pickles
        assert "header.npy" in archive.namelist()
    assert {"header"} <= set(np.load(io.BytesIO(data), allow_pickle=False).files)


@pytest.mark.parametrize("factor", [100.0, 1e-4, 7.3])
@pytest.mark.parametrize(
    ("rule", "make"),
    [
        *((f"{rule}-{model}", lambda f, r=rule, m=model: contextual(r, m, amounts=f)) for rule, model in CONTEXTUAL),
        *((f"{rule}-{cells}", lambda f, r=rule, c=cells: table(r, c, amounts=f)) for rule, cells in TABLES),
    ],
)
def test_the_unit_of_amounts_changes_no_probability(rule: str, make: Any, factor: float) -> None:
    """Yuan, fen or ten thousand yuan: the scale that is frozen in the version takes it out."""
    assert rule
    before, after = make(1.0).probabilities_batch(ENCODED), make(factor).probabilities_batch(ENCODED)
    assert np.abs(before - after).max() <= 1e-12


def test_without_a_scale_the_unit_would_matter() -> None:
    """What the test before this one would miss, if nothing were divided by the scale."""
    changed = contextual("igw", "logistic", amounts=100.0, scale=37.5).probabilities_batch(ENCODED)
    assert np.abs(changed - contextual().probabilities_batch(ENCODED)).max() > 0.01


def test_inverse_gap_weights_by_the_formula() -> None:
    """Foster & Rakhlin, arXiv 2002.04926, algorithm 1, with γ = c √(t K) written out."""
    policy = contextual()
    x = ENCODER.encode(ROWS[0])
    scores = policy.scores(x)
    best = int(np.argmax(scores))
    gamma = 16 * np.sqrt(2_000 * 5)
    expected = [0 if k == best else 1 / (5 + gamma * (scores[best] - scores[k])) for k in range(5)]
    expected[best] = 1 - sum(expected)
    assert policy.probabilities(x, range(5)) == pytest.approx(expected, abs=1e-14)
    assert policy.probabilities(x, [0, 2, 3]) != pytest.approx(np.array(expected)[[0, 2, 3]])


def test_a_score_by_hand() -> None:
    encoder = Encoder((FeatureCode("u", "numeric"),))
    logistic = Policy(
        variants=("control", "a"),
        kind="contextual",
        model="logistic",
        encoder=encoder,
        coef=np.array([[0.0, 0.0, 0.0], [-1.0, 0.5, 2.0]]),
        worth=np.array([100.0, 80.0]),
        contact=np.array([0.0, 1.5]),
        scale=10.0,
    )
    assert logistic.scores([2.0]) == pytest.approx([5.0, (80 / 2 - 1.5) / 10])  # η = −1 + .5·2 = 0, σ(0) = ½
    assert logistic.scores([None]) == pytest.approx([5.0, (80 / (1 + np.exp(-1)) - 1.5) / 10])


def two_normals(rule: str, optimism: float = 1.0, draws: int = 20_000) -> Policy:
    """Two offers of one intercept each: means 0 and .3, standard deviations .5 and .2."""
    return Policy(
        variants=("control", "a"),
        kind="contextual",
        rule=rule,  # type: ignore[arg-type]
        coef=np.array([[0.0], [0.3]]),
        spread=np.array([[0.5], [0.2]]),
        optimism=optimism,
        draws=draws,
    )


def test_thompson_draws_with_the_chance_of_being_best() -> None:
    """Against P(a is best) = ∫ φ_a(v) Φ_0(v) dv; 20,000 frozen normals err by .0035 in one standard error."""
    first, second = stats.norm(0, np.float32(0.5)), stats.norm(0.3, np.float32(0.2))
    chance = integrate.quad(lambda v: second.pdf(v) * first.cdf(v), -5, 5)[0]
    assert chance == pytest.approx(stats.norm.cdf(0.3 / np.hypot(0.5, 0.2)))  # and the closed form of two
    assert two_normals("thompson").probabilities([], [0, 1])[1] == pytest.approx(chance, abs=0.014)


def test_thompson_draws_each_variant_its_own_noise() -> None:
    """mabwiser's LinTS deals all arms the same normals: of equal means the narrow one would never win."""
    equal = Policy(
        variants=("a", "b", "c"),
        kind="contextual",
        rule="thompson",
        coef=np.zeros((3, 1)),
        spread=np.array([[0.1], [0.3], [0.3]]),
        draws=20_000,
    )
    p = equal.probabilities([], [0, 1, 2])
    assert p[0] > 0.15
    assert abs(p[1] - p[2]) < 0.02
    assert np.corrcoef(np.asarray(equal.normals).T)[0, 1] == pytest.approx(0, abs=0.03)


def test_equals_share_draws_beside_members_who_may_get_nothing() -> None:
    """A member without an eligible variant has no best one, which must not hide that another's are equal."""
    sure = Policy(
        variants=("a", "b"), kind="contextual", rule="thompson", coef=np.ones((2, 1)), spread=np.zeros((2, 1)), draws=10
    )
    mask = np.array([[True, True], [False, False], [True, False]])
    assert sure.probabilities_batch(ENCODED.take(slice(0, 3)), mask).tolist() == [[0.5, 0.5], [0, 0], [1, 0]]


def test_linucb_adds_what_is_not_known() -> None:
    assert two_normals("linucb", optimism=0.5).probabilities([], [0, 1]) == [0, 1]  # .25 against .4
    assert two_normals("linucb", optimism=1.5).probabilities([], [0, 1]) == [1, 0]  # .75 against .6


@pytest.mark.parametrize("kept", [True, False])
def test_the_spread_is_a_covariance(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """‖Lᵀx‖² = xᵀ(L Lᵀ)x, in both ways that the triangles are kept, alone and together."""
    if not kept:
        monkeypatch.setattr("allocation.bandits.uncertainty._KEPT", 0)
    spread = contextual("linucb", "linear").spread
    assert spread is not None
    uncertainty = Uncertainty(spread)
    design = ENCODER.design(ENCODED)
    together = uncertainty.of_many(ENCODER, ENCODED)
    for k in range(5):
        triangle = np.zeros((COLUMNS, COLUMNS))
        triangle[np.tril_indices(COLUMNS)] = spread[k]
        expected = np.sqrt(np.einsum("ni,ij,nj->n", design, triangle @ triangle.T, design, optimize=True))
        assert together[:, k] == pytest.approx(expected, rel=1e-10)
        for index in range(20):
            x = ENCODER.encode(ROWS[index])
            assert uncertainty.of_one(*ENCODER.sparse(x))[k] == pytest.approx(expected[index], rel=1e-10)


def test_a_tree_is_scikit_learns() -> None:
    rng = np.random.default_rng(9)
    encoder = Encoder((FeatureCode("u", "numeric"), FeatureCode("v", "numeric")))
    encoded = Encoded(np.round(rng.normal(size=(3_000, 2)), 6), np.empty((3_000, 0), np.int32))
    design = encoder.design(encoded)
    fitted = DecisionTreeRegressor(max_leaf_nodes=40, random_state=0).fit(design, rng.normal(size=3_000) + design[:, 1])
    nodes = fitted.tree_
    leaf = nodes.children_left < 0
    cell = np.where(leaf, np.cumsum(leaf) - 1, -1)
    policy = Policy(
        variants=("control", "a"),
        kind="table",
        rule="greedy",
        encoder=encoder,
        cells="trees",
        table=np.column_stack([np.zeros(leaf.sum()), nodes.value[leaf, 0, 0]]),
        tree_roots=np.array([0]),
        tree_column=np.where(leaf, -1, nodes.feature),
        tree_threshold=np.where(leaf, 0.0, nodes.threshold),
        tree_left=nodes.children_left,
        tree_right=nodes.children_right,
        tree_cell=cell,
    )
    assert policy.scores_batch(encoded)[:, 1] == pytest.approx(fitted.predict(design), abs=1e-12)


def test_ties_are_shared() -> None:
    policy = Policy(variants=("control", "a", "b"), kind="contextual", rule="greedy", coef=np.array([[1.0], [2], [2]]))
    assert policy.probabilities([], [0, 1, 2]) == [0, 0.5, 0.5]
    assert policy.probabilities_batch(ENCODED.take(slice(0, 1)), None).tolist() == [[0, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coef": np.zeros((5, 3))}, "coef is of shape"),
        ({"worth": None}, "worth is missing"),
        ({"coef": np.full((5, len(ENCODER.columns)), np.nan)}, "coef holds something that is no finite number"),
        ({"scale": 0.0}, "scale must be above 0"),
        ({"variants": ("a", "a", "b", "c", "d")}, "different keys"),
        ({"rule": "samples"}, "belongs to tables"),
        ({"rule": "linucb", "spread": None}, "spread is missing"),
        ({"encoder": Encoder((FeatureCode("u", "numeric", scale=0.0),))}, 'feature "u"'),
    ],
)
def test_a_policy_that_does_not_hang_together_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contextual(**fields)


def test_trees_that_run_in_circles_are_refused() -> None:
    good = table("greedy", "trees")
    fields = {name: getattr(good, name) for name in ("encoder", "table", "tree_roots", "tree_column", "tree_threshold")}
    assert good.tree_left is not None
    left = good.tree_left.copy()
    left[2] = 0
    with pytest.raises(ValueError, match="cells of kind trees"):
        Policy(
            variants=VARIANTS, kind="table", rule="greedy", cells="trees", **fields,
            tree_left=left, tree_right=good.tree_right, tree_cell=good.tree_cell,
        )  # fmt: skip


def test_damaged_files_are_refused() -> None:
    data = to_bytes(contextual("thompson", "logistic"))
    rng = np.random.default_rng(10)
    for cut in rng.integers(0, len(data), 40):
        with pytest.raises(ValueError, match="not a readable policy"):
            from_bytes(data[:cut])
    for _ in range(200):
        place = int(rng.integers(0, len(data)))
        broken = data[:place] + bytes([data[place] ^ (1 << int(rng.integers(0, 8)))]) + data[place + 1 :]
        # A bit of the archive's own book-keeping may not matter; whatever does is one kind of error.
        with contextlib.suppress(ValueError):
            from_bytes(broken)


def test_triangles_that_are_mostly_zero_are_short_and_come_back() -> None:
    """100 offers of 100 features that were never missing: a quarter of the 16.2 MB that mabwiser pickles, and less."""
    encoder = Encoder(tuple(FeatureCode(f"f{i}", "numeric") for i in range(100)))
    columns, rng = len(encoder.columns), np.random.default_rng(14)
    known = np.array([column.group != "missing" for column in encoder.columns])
    triangle = np.where(known[:, None] & known, rng.normal(size=(columns, columns)), np.eye(columns))
    policy = Policy(
        variants=tuple(f"v{k}" for k in range(100)),
        kind="contextual",
        rule="linucb",
        encoder=encoder,
        coef=rng.normal(size=(100, columns)),
        spread=np.tile(triangle[np.tril_indices(columns)], (100, 1)),
    )
    data = to_bytes(policy)
    assert len(data) < 16.2e6 / 4
    again = from_bytes(data)
    assert np.array_equal(np.asarray(again.spread), np.asarray(policy.spread))
    assert to_bytes(again) == data
    parts = dict(np.load(io.BytesIO(data), allow_pickle=False))
    file = io.BytesIO()
    np.savez(file, **{**parts, "spread_places": parts["spread_places"] + 100_000})
    with pytest.raises(ValueError, match="lie outside"):
        from_bytes(file.getvalue())


def test_a_pickle_in_the_file_is_not_opened() -> None:
    file = io.BytesIO()
    np.savez(file, header=np.array([{"x": print}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not a readable policy"):
        from_bytes(file.getvalue())


def test_a_newer_format_is_refused() -> None:
    data = to_bytes(Policy(variants=("control",)))
    parts = dict(np.load(io.BytesIO(data), allow_pickle=False))
    header = parts["header"].tobytes().replace(b'"format":1', b'"format":2')
    file = io.BytesIO()
    np.savez(file, header=np.frombuffer(header, np.uint8))
    with pytest.raises(ValueError, match="format 2 and this version reads up to 1; upgrade"):
        from_bytes(file.getvalue())
