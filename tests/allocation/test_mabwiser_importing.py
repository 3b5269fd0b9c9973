"""Objects of mabwiser, served: the choices they make, from memory, JSON and pickles."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy
from scipy.integrate import quad
from scipy.stats import beta

from allocation.bandits.encoding import Encoder, FeatureCode
from allocation.bandits.mabwiser import documents, unpickling
from allocation.bandits.mabwiser.importing import PICKLE_WARNING, from_mabwiser, load, to_policy
from allocation.bandits.mabwiser.reading import read
from allocation.bandits.policy import Policy, from_bytes, to_bytes
from tests.allocation.mabwiser_cases import (
    ARMS,
    CASES,
    CLUSTERS,
    COUNTERS,
    FEATURES,
    LINEAR,
    TREE,
    choices,
    encoded,
    fitted,
    log,
    shares,
)

CERTAIN = ["epsilon_greedy", "ucb1", "lingreedy", "linucb"]
CERTAIN += [f"{around} of {name}" for around in ("clusters", "trees") for name in ("epsilon_greedy", "ucb1")]


def served(name: str) -> Policy:
    return from_mabwiser(fitted(*CASES[name]), features=FEATURES)


@pytest.mark.parametrize("name", CERTAIN)
def test_identical_choices_where_nothing_is_drawn(name: str) -> None:
    mab, members = fitted(*CASES[name]), log(600, seed=5)[2]
    policy = from_mabwiser(mab, features=FEATURES)
    p = policy.probabilities_batch(encoded(policy, members))
    chosen = np.array([ARMS.index(arm) for arm in choices(mab, members)])
    certain = p.max(axis=1) == 1.0
    np.testing.assert_array_equal(p.argmax(axis=1)[certain], chosen[certain])
    # Only leaves have equal means; the stock object takes the first of them, ours gives each its share.
    assert certain.all() or name.startswith("trees")
    assert certain.mean() > 0.9
    assert (p[np.arange(len(p)), chosen] > 0).all()


@pytest.mark.parametrize(
    "name", ["random", "thompson", "clusters of random", "clusters of thompson", "trees of thompson"]
)
def test_the_share_of_choices_is_the_probability(name: str) -> None:
    """1,500 choices: standard error at most 1.3 points, and frozen samples' 0.5 or so. Tolerance 5 points."""
    mab, members = fitted(*CASES[name]), log(1_500 if "trees" not in name else 700, seed=5)[2]
    policy = from_mabwiser(mab, features=FEATURES)
    p = policy.probabilities_batch(encoded(policy, members)).mean(axis=0)
    np.testing.assert_allclose(p, shares(choices(mab, members)), atol=0.05)


def test_thompson_samples_are_those_of_the_posterior() -> None:
    """Two successes of three against one of four: the posterior chance of being better, integrated by scipy."""
    mab = MAB(["a", "b"], LearningPolicy.ThompsonSampling())
    mab.fit(["a"] * 3 + ["b"] * 4, [1, 1, 0, 1, 0, 0, 0])
    exact = quad(lambda p: beta.pdf(p, 3, 2) * beta.cdf(p, 2, 4), 0, 1)[0]
    assert exact == pytest.approx(0.8333, abs=1e-3)
    policy = from_mabwiser(mab, draws=20_000)
    assert policy.samples is not None
    np.testing.assert_allclose(policy.samples.mean(axis=(0, 1)), [3 / 5, 2 / 6], atol=1e-4)
    assert policy.probabilities([], [0, 1])[0] == pytest.approx(exact, abs=0.005)


def test_softmax_and_popularity_are_the_shares_they_report() -> None:
    for name in ("softmax", "popularity"):
        mab = fitted(COUNTERS[name])
        np.testing.assert_allclose(
            served(name).probabilities([], [0, 1, 2]), list(mab._imp.arm_to_expectation.values())
        )


@pytest.mark.parametrize("name", sorted(CASES))
def test_one_member_and_many_agree_and_masks_hold(name: str) -> None:
    policy, members = served(name), log(40, seed=6)[2]
    assert to_bytes(from_bytes(to_bytes(policy))) == to_bytes(policy)
    for eligible in ([0, 1, 2], [0, 2], [1]):
        mask = np.zeros((40, 3), dtype=bool)
        mask[:, eligible] = True
        many = policy.probabilities_batch(encoded(policy, members), mask)
        np.testing.assert_allclose(many.sum(axis=1), 1.0, atol=1e-12)
        assert (many[~mask] == 0).all()
        for row, expected in zip(members.tolist(), many, strict=True):
            x = policy.encode(dict(zip(FEATURES, row, strict=True)))
            np.testing.assert_allclose(policy.probabilities(x, eligible), expected[eligible], atol=1e-12)


@pytest.mark.parametrize("name", sorted(CASES))
def test_json_and_pickle_bring_the_same_policy(name: str) -> None:
    mab = fitted(*CASES[name])
    expected = to_bytes(from_mabwiser(mab, features=FEATURES))
    text = documents.dumps(read(mab))
    json.loads(text)
    assert to_bytes(load(text, features=FEATURES).policy) == expected
    brought = load(pickle.dumps(mab), features=FEATURES, pickles=True)
    assert to_bytes(brought.policy) == expected
    assert PICKLE_WARNING in brought.warnings


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_each_protocol_are_read(protocol: int) -> None:
    mab = fitted(LearningPolicy.LinUCB(1.0, scale=True))
    assert read(unpickling.loads(pickle.dumps(mab, protocol))).arms == tuple(ARMS)


class Bomb:
    """What a hostile pickle looks like."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.arguments


def test_a_pickle_that_runs_code_is_refused_before_it_runs(tmp_path: os.PathLike[str]) -> None:
    mark = os.path.join(tmp_path, "ran")  # noqa: PTH118 - the text that a shell would get
    for call, arguments in (
        (os.system, (f"touch {mark}",)),
        (eval, (f"open({mark!r}, 'w')",)),
        (exec, (f"open({mark!r}, 'w')",)),
        (getattr, ("text", "upper")),
        (__import__, ("os",)),
        (np.load, (mark,)),
    ):
        mab = fitted(COUNTERS["ucb1"])
        mab.seed = Bomb(call, *arguments)
        with pytest.raises(ValueError, match="not part of a MAB"):
            load(pickle.dumps(mab), pickles=True)
    assert not os.path.exists(mark)  # noqa: PTH110


def test_what_mabwiser_imports_is_not_let_through() -> None:
    for module, name in (("mabwiser.mab", "np"), ("mabwiser.base_mab", "Parallel"), ("mabwiser.mab", "MAB.fit"),
                         ("mabwiser.simulator", "Simulator"), ("mabwiser.utils", "create_rng")):  # fmt: skip
        with pytest.raises(ValueError, match="not part of a MAB"):
            unpickling.loads(f"c{module}\n{name}\n)R.".encode())


def test_a_binarizer_of_ones_own_does_no_harm() -> None:
    """It is named by the file, and never needed: successes were counted."""
    mab = MAB(list(ARMS), LearningPolicy.ThompsonSampling(binarizer=binarizer))
    mab.fit(["control", "coupon", "points"], [10.0, 0.0, 3.0])
    policy = load(pickle.dumps(mab), pickles=True).policy
    assert policy.variants == tuple(ARMS)
    np.testing.assert_allclose(policy.probabilities([], [0, 1]), from_mabwiser(mab).probabilities([], [0, 1]))


def binarizer(_arm: str, reward: float) -> bool:
    return reward > 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "only where pickles are allowed"),
        (b"\x80\x04N.", "only where pickles are allowed"),
        (b"{", "not a MAB as JSON"),
        (b"[]", "only where pickles are allowed"),
        (b"{}", "format must be"),
        (b'{"format": "equipoise-mabwiser", "version": 9}', "version 9 is unknown"),
        (b'{"format": "equipoise-mabwiser", "version": 1}', "arms is missing"),
        (b'{"format": "equipoise-mabwiser", "version": 1, "arms": ["a"], "learned": {"kind": "x"}}', "needs a kind"),
        (
            (
                b'{"format": "equipoise-mabwiser", "version": 1, "arms": ["a", "b"], "learned": {"kind": "counts", '
                b'"learner": "ucb1", "parameters": {"alpha": 1}, "count": [1], "total": [1]}}'
            ),
            "not about the 2 arms",
        ),
        (
            (
                b'{"format": "equipoise-mabwiser", "version": 1, "arms": ["a", "b"], "learned": {"kind": "counts", '
                b'"learner": "ucb1", "parameters": {"alpha": 1}, "count": [1, -1], "total": [1, 0]}}'
            ),
            "count has a negative number",
        ),
        (
            (
                b'{"format": "equipoise-mabwiser", "version": 1, "arms": ["a", "b"], "learned": {"kind": "counts", '
                b'"learner": "ucb1", "parameters": {}, "count": [1, 1], "total": [1, 0]}}'
            ),
            "ucb1 needs the parameter alpha",
        ),
    ],
)
def test_a_file_that_is_none_says_why(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(data)


def test_garbage_and_cut_pickles_are_refused() -> None:
    data = pickle.dumps(fitted(COUNTERS["ucb1"]))
    for bad in (b"\x80", b"garbage", data[: len(data) // 2], b"\x80\x04N."):
        with pytest.raises(ValueError, match=r"not a readable MAB|is no MAB"):
            load(bad, pickles=True)


def test_a_damaged_pickle_is_an_error_and_nothing_else() -> None:
    """300 pickles with one to four bytes changed: each is read, or refused by a ValueError."""
    random = np.random.default_rng(0)
    data = [pickle.dumps(fitted(*CASES[name], n=60)) for name in ("linucb", "clusters of ucb1", "trees of ucb1")]
    refused = 0
    for turn in range(300):
        bad = bytearray(data[turn % 3])
        for place in random.integers(0, len(bad), random.integers(1, 5)):
            bad[place] = random.integers(0, 256)
        try:
            load(bytes(bad), features=FEATURES, pickles=True)
        except ValueError:
            refused += 1
    assert refused > 100


def test_arms_are_brought_into_the_order_and_names_of_the_variants() -> None:
    mab = fitted(LINEAR["linucb"])
    plain = from_mabwiser(mab, features=FEATURES)
    other = from_mabwiser(mab, features=FEATURES, variants=["points", "none"], names={"control": "none"})
    assert other.variants == ("points", "none")
    x = plain.encode({"age": 1.0, "spend": -0.5, "visits": 0.2})
    assert other.scores(x) == [plain.scores(x)[2], plain.scores(x)[0]]
    with pytest.raises(ValueError, match="no arm for gift"):
        from_mabwiser(mab, features=FEATURES, variants=["control", "gift"])
    with pytest.raises(ValueError, match="same name"):
        from_mabwiser(mab, features=FEATURES, names={"control": "points"})


def test_contexts_must_be_named() -> None:
    for name in ("linucb", "clusters of ucb1", "trees of ucb1"):
        mab = fitted(*CASES[name])
        with pytest.raises(ValueError, match="as features"):
            from_mabwiser(mab)
    with pytest.raises(ValueError, match="2 features are named"):
        from_mabwiser(fitted(LINEAR["linucb"]), features=["age", "spend"])
    with pytest.raises(ValueError, match="a tree asks about column"):
        from_mabwiser(fitted(COUNTERS["ucb1"], TREE), features=["age"])
    with pytest.raises(ValueError, match="twice"):
        from_mabwiser(fitted(LINEAR["linucb"]), features=["age", "age", "visits"])


def test_a_file_that_names_its_columns_is_believed() -> None:
    mab = fitted(LINEAR["linucb"])
    named = load(documents.dumps(read(mab, features=FEATURES)), features=FEATURES[::-1])
    assert to_bytes(named.policy) == to_bytes(from_mabwiser(mab, features=FEATURES))
    with pytest.raises(ValueError, match="2 features are named"):
        read(mab, features=["age", "spend"])


def test_an_object_fitted_on_an_encoders_design_keeps_the_encoder() -> None:
    rng = np.random.default_rng(4)
    codes = (
        FeatureCode("age", "numeric", centre=40.0, scale=10.0),
        FeatureCode("stage", "categorical", levels=("new",)),
    )
    encoder = Encoder(codes, pairs=((0, 1),))
    rows = encoder.encode_columns({"age": rng.normal(40, 10, 600), "stage": rng.choice(["new", "old"], 600)}, 600)
    design = encoder.design(rows)
    decisions = rng.choice(ARMS, 600)
    mab = MAB(list(ARMS), LearningPolicy.LinUCB(alpha=0.7), seed=1)
    mab.fit(decisions, design[:, 1] * (decisions == "coupon") + rng.normal(size=600), design)
    policy = from_mabwiser(mab, encoder=encoder)
    assert policy.encoder == encoder
    assert [ARMS[k] for k in policy.probabilities_batch(rows).argmax(axis=1)] == mab.predict(design)
    with pytest.raises(ValueError, match="columns"):
        from_mabwiser(fitted(LINEAR["linucb"]), encoder=encoder)


@pytest.mark.parametrize("policy", [LearningPolicy.LinUCB(1.0, scale=True), LearningPolicy.LinGreedy(0.0, scale=True)])
def test_scaled_contexts_are_folded_into_the_coefficients(policy: object) -> None:
    rng = np.random.default_rng(5)
    contexts = (rng.normal(size=(600, 3)) * [1, 30, 0.2] + [10, -100, 3]).round(6)
    decisions = rng.choice(ARMS, 600)
    mab = MAB(list(ARMS), policy, seed=1)
    mab.fit(decisions, contexts @ [0.1, 0.01, 1.0] * (decisions == "points") + rng.normal(size=600), contexts)
    ours = from_mabwiser(mab, features=FEATURES)
    p = ours.probabilities_batch(encoded(ours, contexts))
    assert [ARMS[k] for k in p.argmax(axis=1)] == mab.predict(contexts)


def test_epsilon_is_handed_on_as_explore() -> None:
    for policy, around in ((LearningPolicy.EpsilonGreedy(0.25), None), (LearningPolicy.EpsilonGreedy(0.25), CLUSTERS)):
        brought = load(documents.dumps(read(fitted(policy, around))), features=FEATURES)
        assert brought.explore == 0.25
    assert load(documents.dumps(read(fitted(COUNTERS["ucb1"])))).explore is None


def test_warnings_come_along() -> None:
    assert any(
        "same noise" in text
        for text in load(documents.dumps(read(fitted(LINEAR["lints"]))), features=FEATURES).warnings
    )
    assert any("Dirichlet" in text for text in load(documents.dumps(read(fitted(COUNTERS["softmax"])))).warnings)


def test_clusters_of_linear_learners_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be served"):
        from_mabwiser(fitted(LINEAR["linucb"], CLUSTERS), features=FEATURES)


def test_numbered_arms_become_text() -> None:
    mab = MAB([1, 2, 3], LearningPolicy.EpsilonGreedy(0.0))
    mab.fit([1, 2, 3], [0, 1, 0])
    assert to_policy(documents.loads(documents.dumps(read(mab)))).variants == ("1", "2", "3")
    assert from_mabwiser(mab, variants=["2", "3"]).probabilities([], [0, 1]) == [1.0, 0.0]
