"""From rows to a policy: what it must be a function of, and what it must learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from allocation.bandits.learning.encoders import fit_encoder
from allocation.bandits.learning.groups import groups_of
from allocation.bandits.learning.linear import fit_linear
from allocation.bandits.learning.rows import Rows
from allocation.bandits.learning.settings import FeatureSpec, Settings
from allocation.bandits.learning.statistics import LinearStatistics
from allocation.bandits.learning.train import train
from allocation.bandits.policy import Policy, from_bytes, to_bytes

FEATURES = (
    FeatureSpec("spend", "numeric", "log"),
    FeatureSpec("age", "numeric"),
    FeatureSpec("stage", "categorical"),
    FeatureSpec("store", "categorical", min_rows=5),
)
SETTINGS = Settings(
    ("control", "coupon", "gift"),
    FEATURES,
    pairs=(("stage", "spend"),),
    worth=(100.0, 80.0, 60.0),
    contact=(0.0, 0.5, 0.5),
    half_life_days=30.0,
)


def world(n: int, seed: int = 1, *, rate: float = 0.1) -> Rows:
    rng = np.random.default_rng(seed)
    spend = np.where(rng.random(n) < 0.1, np.nan, np.exp(rng.normal(4, 1.5, n)))
    stage = rng.choice(np.array(["new", "active", "dormant", None], dtype=object), n, p=[0.3, 0.4, 0.25, 0.05])
    variant = rng.integers(0, 3, n)
    eta = np.log(rate / (1 - rate)) + np.where((stage == "dormant") & (variant == 1), 1.5, 0.0)
    eta += np.where((stage == "new") & (variant == 2), 1.5, 0.0)
    converted = rng.random(n) < 1 / (1 + np.exp(-eta))
    return Rows(
        variant=variant,
        columns={
            "spend": spend,
            "age": rng.integers(18, 80, n),
            "stage": stage,
            "store": rng.zipf(1.6, n).clip(max=300).astype(str).astype(object),
        },
        converted=converted,
        amount=np.where(converted, np.exp(rng.normal(4, 1.0, n)) - 10 * (variant > 0), 0.0),
        age_days=rng.integers(0, 60, n).astype(float),
        unit=rng.integers(0, n, n),
    )


ROWS = world(4000)


def probabilities(policy: Policy, rows: Rows) -> np.ndarray:
    return policy.probabilities_batch(policy.encoder.encode_columns(rows.columns, rows.n))


@pytest.mark.parametrize("model", ["logistic", "hurdle", "linear"])
@pytest.mark.parametrize("policy", ["igw", "thompson", "linucb", "greedy"])
def test_the_order_of_rows_does_not_matter(model: str, policy: str) -> None:
    settings = replace(SETTINGS, model=model, policy=policy)
    shuffled = ROWS.take(np.random.default_rng(2).permutation(ROWS.n))
    assert to_bytes(train(ROWS, settings)) == to_bytes(train(shuffled, settings))


@pytest.mark.parametrize("model", ["logistic", "hurdle", "linear"])
@pytest.mark.parametrize("factor", [100.0, 1e-4])
def test_the_unit_of_money_does_not_matter(model: str, factor: float) -> None:
    settings = replace(SETTINGS, model=model)
    other = replace(
        settings,
        worth=tuple(factor * amount for amount in SETTINGS.worth or ()),
        contact=tuple(factor * amount for amount in SETTINGS.contact),
    )
    one = train(ROWS, settings)
    two = train(replace(ROWS, amount=factor * ROWS.amount), other)
    assert two.scale == pytest.approx(factor * one.scale, rel=1e-12)
    np.testing.assert_allclose(probabilities(one, ROWS), probabilities(two, ROWS), atol=1e-10)


def test_weight_two_is_twice_the_row() -> None:
    twice = ROWS.take(np.repeat(np.arange(ROWS.n), 2))
    features = tuple(replace(spec, min_rows=1) for spec in FEATURES)
    settings = replace(SETTINGS, features=features)
    one = train(replace(ROWS, weight=2 * ROWS.weight), settings)
    two = train(twice, replace(settings, features=features))
    assert one.coef is not None
    assert two.coef is not None
    # Quantiles of doubled rows lie a little elsewhere, and so do the centres: what is predicted is the same.
    np.testing.assert_allclose(
        one.scores_batch(one.encoder.encode_columns(ROWS.columns, ROWS.n)),
        two.scores_batch(two.encoder.encode_columns(ROWS.columns, ROWS.n)),
        atol=2e-3,
    )


def test_who_gets_what_is_learned() -> None:
    policy = train(world(20_000), SETTINGS)
    for stage, best in (("active", 0), ("dormant", 1), ("new", 2)):
        x = policy.encode({"stage": stage, "spend": 60.0, "age": 40, "store": "1"})
        assert policy.probabilities(x, [0, 1, 2])[best] > 0.9
    assert probabilities(from_bytes(to_bytes(policy)), ROWS).sum(axis=1) == pytest.approx(np.ones(ROWS.n))


@pytest.mark.parametrize("model", ["logistic", "hurdle", "linear"])
@pytest.mark.parametrize("policy", ["igw", "thompson", "linucb", "greedy", "beta_thompson", "normal_thompson"])
@pytest.mark.parametrize("case", ["none", "one", "nobody", "everybody", "alike", "old"])
def test_little_or_odd_data_still_make_a_policy(model: str, policy: str, case: str) -> None:
    rows = {
        "none": ROWS.take(np.arange(0)),
        "one": ROWS.take(np.arange(1)),
        "nobody": ROWS.take(np.flatnonzero(~ROWS.converted)),
        "everybody": ROWS.take(np.flatnonzero(ROWS.converted)),
        "alike": ROWS.take(np.zeros(50, dtype=int)),
        "old": replace(ROWS, age_days=np.full(ROWS.n, 1e5)),  # weights of exactly nothing
    }[case]
    features = FEATURES if policy in {"igw", "thompson", "linucb", "greedy"} else ()
    settings = replace(
        SETTINGS, model=model, policy=policy, features=features, pairs=SETTINGS.pairs if features else ()
    )
    p = probabilities(train(rows, settings), ROWS.take(np.arange(200)))
    assert np.isfinite(p).all()
    assert p.sum(axis=1) == pytest.approx(np.ones(200))
    if case in {"none", "one", "nobody"}:
        # Fen for yuan: what stands in for orders that nobody has made yet is no amount of its own.
        other = replace(
            settings,
            worth=tuple(100 * amount for amount in SETTINGS.worth or ()),
            contact=tuple(100 * amount for amount in SETTINGS.contact),
        )
        same = probabilities(train(replace(rows, amount=100 * rows.amount), other), ROWS.take(np.arange(200)))
        np.testing.assert_allclose(same, p, atol=1e-10)


def test_nothing_learned_draws_evenly() -> None:
    settings = replace(SETTINGS, worth=None, contact=())
    p = probabilities(train(ROWS.take(np.arange(0)), settings), ROWS)
    np.testing.assert_allclose(p, 1 / 3)


def test_a_new_variant_looks_like_the_others_and_is_less_certain() -> None:
    old = ROWS.take(np.flatnonzero(ROWS.variant < 2))
    policy = train(old, replace(SETTINGS, policy="linucb", worth=None, contact=()))
    assert policy.coef is not None
    assert policy.spread is not None
    np.testing.assert_allclose(policy.coef[2], policy.coef[:2].mean(axis=0), atol=0.25)
    first = policy.spread[:, 0]  # standard deviation of the intercept
    assert first[2] > first[0]


def test_a_variant_the_settings_do_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="variant 2"):
        train(ROWS, Settings(("control", "coupon")))


def test_discounting_forgets() -> None:
    before, after = world(5000, seed=3), world(5000, seed=4)
    turned = replace(before, variant=(before.variant + 1) % 3, age_days=np.full(5000, 200.0))
    recent = replace(after, age_days=np.zeros(5000))
    columns = {name: np.concatenate([turned.columns[name], recent.columns[name]]) for name in before.columns}
    both = Rows(
        **{
            name: np.concatenate([getattr(turned, name), getattr(recent, name)])
            for name in ("variant", "converted", "amount", "age_days")
        },
        columns=columns,
    )
    truth = probabilities(train(recent, SETTINGS), ROWS)
    forgetting = probabilities(train(both, replace(SETTINGS, half_life_days=20.0)), ROWS)
    remembering = probabilities(train(both, replace(SETTINGS, half_life_days=None)), ROWS)
    assert np.abs(forgetting - truth).mean() < 0.1 < np.abs(remembering - truth).mean()


def test_the_encoding_is_robust_and_says_what_is_rare() -> None:
    n = 1000
    spend = np.concatenate([np.linspace(0, 100, n - 2), [1e12, np.nan]])
    store = np.array(["big"] * 900 + ["small"] * 95 + ["tiny"] * 4 + [None], dtype=object)
    rows = Rows(np.zeros(n, int), {"spend": spend, "store": store, "flat": np.ones(n)}, np.zeros(n, bool), np.zeros(n))
    specs = [FeatureSpec("spend", "numeric"), FeatureSpec("store", "categorical"), FeatureSpec("flat", "numeric")]
    encoder = fit_encoder(rows, [*specs, FeatureSpec("unknown", "numeric"), FeatureSpec("nowhere", "categorical")])
    spend_code, store_code, flat, *_ = encoder.features
    assert spend_code.centre == pytest.approx(50, abs=1)
    assert spend_code.scale == pytest.approx(28.9, abs=1)
    assert spend_code.high == 6.0
    assert spend_code.low == pytest.approx(-1.73, abs=0.05)
    assert store_code.levels == ("big", "small")
    assert encoder.encode({"spend": 50, "store": "tiny", "flat": 1})[1:] == [1, 0.0, None, 0]
    assert flat.low < flat.high
    assert fit_encoder(rows.take(np.random.default_rng(1).permutation(n)), specs) == fit_encoder(rows, specs)
    capped = fit_encoder(rows, [FeatureSpec("store", "categorical", max_levels=1)])
    assert capped.features[0].levels == ("big",)


def test_rows_say_what_is_wrong_with_them() -> None:
    good = {
        "variant": np.array([0, 1]),
        "columns": {},
        "converted": np.array([True, False]),
        "amount": np.array([1.0, 0]),
    }
    for change, words in [
        ({"amount": np.array([1.0, 2.0])}, "amount must be 0"),
        ({"amount": np.array([np.nan, 0.0])}, "not a finite number"),
        ({"weight": np.array([-1.0, 1.0])}, "weight has a negative"),
        ({"columns": {"stage": np.array(["a"])}}, "stage must have shape"),
        ({"variant": np.array([-1, 0])}, "negative index"),
    ]:
        with pytest.raises(ValueError, match=words):
            Rows(**{**good, **change})


def shops(n: int, *, matter: bool, seed: int) -> tuple[Rows, np.ndarray]:
    """About 1 % conversions, 200 stores of very different size: rows drawn evenly, and the true rates (n, 5)."""
    rng = np.random.default_rng(seed)
    store = np.minimum(rng.zipf(1.3, n), 200) - 1
    effect = rng.normal(0, 0.5 if matter else 0.0, (200, 5)) + np.array([0.0, 0.2, 0.1, 0.4, -0.1])
    rate = 1 / (1 + np.exp(4.8 - effect[store]))
    variant = rng.integers(0, 5, n)
    converted = rng.random(n) < rate[np.arange(n), variant]
    columns = {"store": store.astype(str).astype(object), "noise": rng.normal(size=n)}
    return Rows(variant, columns, converted, converted.astype(float)), rate


SHOPS = Settings(
    ("none", "a", "b", "c", "d"),
    (FeatureSpec("store", "categorical"), FeatureSpec("noise", "numeric")),
    policy="greedy",
)


@pytest.mark.slow
@pytest.mark.parametrize("matter", [False, True])
def test_many_levels_and_rare_conversions_do_not_lose_to_looking_at_nobody(matter: bool) -> None:
    # What is earned over what the best variant for everybody earns, by true rates, over 6 worlds with fixed seeds.
    kept, separate = [], []
    for seed in range(6):
        rows, rate = shops(20_000, matter=matter, seed=seed)
        policy = train(rows, SHOPS)
        best = rate.mean(axis=0)[np.argmax([rows.converted[rows.variant == k].mean() for k in range(5)])]
        kept.append((probabilities(policy, rows) * rate).sum(axis=1).mean() / best)
        x = policy.encoder.design(policy.encoder.encode_columns(rows.columns, rows.n))
        ridges = []  # one for each variant, nothing shared
        for k in range(5):
            own, won = x[rows.variant == k], rows.converted[rows.variant == k]
            ridges.append(np.linalg.solve(np.eye(x.shape[1]) + own.T @ own, own.T @ won))
        separate.append(rate[np.arange(rows.n), (x @ np.array(ridges).T).argmax(axis=1)].mean() / best)
    if matter:
        assert np.mean(kept) > 1.08
    else:
        assert np.mean(kept) > max(0.97, np.mean(separate) + 0.02)


def test_inverse_gap_weights_are_sharp_where_data_are_and_even_where_nothing_is_known() -> None:
    settings = replace(SETTINGS, half_life_days=None)
    best = probabilities(train(world(50_000), settings), ROWS).max(axis=1)
    assert np.mean(best) > 0.95
    few = world(60, rate=0.02)  # about one conversion
    settings = replace(settings, worth=(1.0, 1.0, 1.0), contact=())
    assert np.mean(probabilities(train(few, settings), ROWS).max(axis=1)) < 0.85


def test_statistics_made_piece_by_piece_give_the_same_model() -> None:
    encoder = train(ROWS, SETTINGS).encoder
    design = encoder.design(encoder.encode_columns(ROWS.columns, ROWS.n))
    day = ROWS.age_days.astype(int) // 10
    whole = LinearStatistics.from_rows(design, ROWS.variant, ROWS.amount, 3)
    pieces = LinearStatistics.empty(3, design.shape[1])
    for one in np.unique(day):
        rows = day == one
        pieces = pieces + LinearStatistics.from_rows(design[rows], ROWS.variant[rows], ROWS.amount[rows], 3)
    groups = groups_of(encoder.columns)
    np.testing.assert_allclose(fit_linear(pieces, groups).coef, fit_linear(whole, groups).coef, rtol=1e-8, atol=1e-8)
