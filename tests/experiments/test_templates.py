"""Definitions to begin with: each validates, and runs on simulated members from their first orders to the report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from allocation.compiled import compile_snapshot
from allocation.decide import decide
from allocation.decision import MemberState
from api.cli import cli
from experiments.definitions import Experiment, Metric, Offer, Project, Segment, StageRule
from experiments.definitions.loader import Loaded, load_text
from experiments.errors import InputError
from experiments.keeping.repository import Repository
from experiments.log.absorb import absorb
from experiments.log.rows import DAY_US, DecisionRow, EventRow, TraitsRow
from experiments.publishing.plans import snapshot_of
from experiments.report.build import build_report
from experiments.stages.computing import compute
from experiments.store import Store, open_store
from experiments.store.log_tables import members
from experiments.store.migrate import upgrade
from experiments.templates.catalogue import TEMPLATES, find
from tests.experiments.measuring import START_US, happened
from tests.experiments.small_shop import walk

QUICK = "retail"
each = pytest.mark.parametrize(
    "key", [pytest.param(key, marks=[] if key == QUICK else pytest.mark.slow) for key in TEMPLATES]
)
# Days since the last order of those whom the experiment is for, their orders, days since their last visit.
PEOPLE: dict[str, tuple[tuple[int, int], tuple[int, int], tuple[int, int] | None]] = {
    "retail": ((30, 59), (1, 6), None),
    "catering": ((1, 20), (1, 1), None),
    "hotel": ((180, 500), (1, 3), None),
    "education": ((0, 0), (0, 0), (1, 20)),
    "fitness": ((40, 300), (1, 3), (14, 60)),
    "beauty": ((50, 89), (1, 4), None),
    "aesthetic-medicine": ((120, 350), (1, 3), None),
}


def loaded(key: str) -> list[Loaded]:
    return load_text(TEMPLATES[key].text)


def of(key: str, kind: type[Any]) -> list[Any]:
    return [document.definition for document in loaded(key) if isinstance(document.definition, kind)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'equipoise.sqlite'}")
    upgrade(opened)
    yield opened
    opened.close()


def test_there_is_one_for_each_industry_in_both_languages() -> None:
    assert [template.name["zh-CN"] for template in TEMPLATES.values()] == [
        "零售", "餐饮", "酒店", "教育", "健身", "美妆", "医美",
    ]  # fmt: skip
    assert [find(template.name["zh-CN"]) for template in TEMPLATES.values()] == list(TEMPLATES.values())
    with pytest.raises(InputError, match="did you mean"):
        find("retial")


@pytest.mark.parametrize("key", TEMPLATES)
def test_it_has_all_that_a_first_experiment_needs(key: str) -> None:
    (experiment,), (project,) = of(key, Experiment), of(key, Project)
    assert len(of(key, StageRule)) == len(of(key, Segment)) == 1
    metrics, offers = {m.key: m for m in of(key, Metric)}, of(key, Offer)
    assert any(metrics[name].type == "profit" for name in experiment.metrics.primary)
    assert experiment.metrics.guardrails
    assert {variant.offer for variant in experiment.variants} - {None} == {offer.key for offer in offers}
    assert all(variant.channel in experiment_offer(offers, variant.offer).contact_cost
               for variant in experiment.variants if variant.offer)  # fmt: skip
    # An offer that is used on its last day still counts.
    longest = max(metric.window.days for metric in metrics.values())
    assert all(offer.valid_days is None or offer.valid_days <= longest for offer in offers)
    # Who may be looked at is named in both languages, and what a rule reads is there.
    named = [project.name, *(a.label for a in project.attributes.values()), *(o.name for o in offers)]
    named += [m.name for m in metrics.values()] + [v.name for v in experiment.variants] + [experiment.name]
    named += [stage.name for stage in of(key, StageRule)[0].stages] + [experiment.hypothesis]
    named += [text for a in project.attributes.values() for text in a.levels.values()]
    assert all(set(text) == {"en", "zh-CN"} for text in named)
    assert of(key, StageRule)[0].computed is not None


def experiment_offer(offers: list[Offer], key: str) -> Offer:
    return next(offer for offer in offers if offer.key == key)


def test_aesthetic_medicine_knows_nothing_of_health() -> None:
    """When and how much somebody bought, never what (PIPL, Article 28)."""
    (project,) = of("aesthetic-medicine", Project)
    assert set(project.attributes) == {"stage", "tier", "lead_source", "last_order_at", "orders_365d"}
    without_comments = re.sub("#.*", "", TEMPLATES["aesthetic-medicine"].text)
    health = "治疗|项目|皮肤|症|病|手术|注射|过敏|体重|treatment|skin|surgery|inject|allerg|diagnos|condition|body"
    assert not re.search(health, without_comments, re.IGNORECASE)
    events = {metric.event for metric in of("aesthetic-medicine", Metric)}
    assert events == {"Order Completed", "Clinic Visited", "Complaint Received", "Unsubscribed"}


class Simulated:
    """Members of a template's shop: what they did before, and what they do after."""

    def __init__(self, key: str, n: int = 700) -> None:
        self.key, self.n, self.rng = key, n, np.random.default_rng(list(TEMPLATES).index(key))
        (self.experiment,), (self.project,) = of(key, Experiment), of(key, Project)
        self.metrics = of(key, Metric)
        self.login = of(key, StageRule)[0].computed.login
        self.number = 0

    def order(self, unit: str, at: int, offer: str | None = None) -> Iterator[EventRow]:
        self.number += 1
        name, value = f"order-{self.number}", int(self.rng.lognormal(10.5, 0.5))
        properties = {"nights": int(self.rng.integers(1, 4)), "booked_by": "direct"}
        yield happened("Order Completed", unit, at, value, object_id=name, properties=properties)
        if offer is not None:
            yield happened("Coupon Redeemed", unit, at, object_id=name, properties={"offer": offer})

    def before(self) -> Iterator[EventRow | TraitsRow]:
        """Two thirds are whom the experiment is for; the others ordered today."""
        days, orders, visits = PEOPLE[self.key]
        for i in range(self.n):
            unit, meant = f"m-{i:04d}", i % 3 < 2
            last = int(self.rng.integers(days[0], days[1] + 1)) if meant else 0
            count = int(self.rng.integers(orders[0], orders[1] + 1)) if meant else 2
            for past in range(count):
                yield from self.order(unit, START_US - last * DAY_US - past * 5 * DAY_US - 3_600_000_000)
            seen = 0 if not meant or visits is None else int(self.rng.integers(visits[0], visits[1] + 1))
            if self.login is not None:
                yield happened(self.login, unit, START_US - seen * DAY_US - 3_600_000_000)
            levels = {
                name: str(self.rng.choice(list(attribute.levels)))
                for name, attribute in self.project.attributes.items()
                if attribute.levels
            }
            if "trial_at" in self.project.attributes:
                levels["trial_at"] = "2026-02-20T10:00:00+08:00"
            yield TraitsRow("crm", "member", unit, START_US - DAY_US, START_US - DAY_US, json.dumps(levels))

    def after(self, unit: str, variant: str) -> Iterator[EventRow]:
        """A tenth orders anyway; with an offer a quarter does, and most of those use it."""
        offer = self.experiment.variant(variant).offer
        window = min(metric.window.days for metric in self.metrics)
        at = START_US + int(self.rng.uniform(0.1, window - 0.1) * DAY_US)
        if self.rng.random() < (0.1 if offer is None else 0.25):
            yield from self.order(unit, at, offer if self.rng.random() < 0.8 else None)
        for event in {metric.event for metric in self.metrics} - {"Order Completed", "Order Refunded"}:
            if self.rng.random() < (0.02 if event in ("Unsubscribed", "Complaint Received") else 0.3):
                yield happened(event, unit, at)


@each
def test_it_runs_on_simulated_members(key: str, store: Store) -> None:
    simulated = Simulated(key)
    experiment, (rule,), (segment,) = simulated.experiment, of(key, StageRule), of(key, Segment)
    Repository(store).apply(loaded(key), "test", now=START_US - 30 * DAY_US)
    walk(store, experiment.key, "review", "testing", "running", now=START_US)
    with store.begin() as connection:
        absorb(connection, list(simulated.before()), START_US)
    run = compute(store, rule.key, START_US)
    assert run.counts[segment.rule["value"]] == (2 * simulated.n + 2) // 3

    with store.read() as connection:
        known = {row.unit: json.loads(row.attributes) for row in connection.execute(sa.select(members))}
    snapshot = compile_snapshot(snapshot_of(Repository(store), "v1", START_US))
    answers = [
        decide(snapshot, experiment.key, unit, now=START_US, state=MemberState(attributes))
        for unit, attributes in sorted(known.items())
    ]
    enrolled = [answer for answer in answers if answer.kind == "enrolled" and answer.variant is not None]
    assert len(enrolled) > 0.9 * run.counts[segment.rule["value"]]
    assert {answer.reason for answer in answers} == {"assigned", "holdout", "not_in_audience"}
    frozen = json.loads(enrolled[0].frozen)
    assert set(experiment.analysis.features) <= set(frozen), "what is learned from is known and frozen"
    rows: list[DecisionRow | EventRow] = [DecisionRow.from_decision(a) for a in answers if a.logged]
    rows += [event for a in enrolled for event in simulated.after(a.unit, a.variant or "")]
    end = START_US + int(max(metric.window.days for metric in simulated.metrics) + 1) * DAY_US
    with store.begin() as connection:
        absorb(connection, rows, end)

    report = build_report(store, experiment.key, end)
    assert report.srm.p_value is not None
    assert report.srm.p_value > 0.001
    assert report.verdict is not None
    assert {metric.name for metric in report.metrics} == set(experiment.metrics.keys())
    for metric in report.metrics:
        for comparison in metric.comparisons:
            assert comparison.effect.estimate is not None, (metric.name, comparison.effect.why)
    orders = next(m for m in report.metrics if m.kind == "proportion" and m.role == "primary")
    if simulated.login is None or key == "education":
        assert all(comparison.effect.estimate > 0 for comparison in orders.comparisons)
    assert report.economics is not None
    assert [offer.offer for offer in report.economics.offers] == [v.offer for v in experiment.variants if v.offer]


def test_the_command(tmp_path: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(cli, ["new", "--list"])
    assert listed.exit_code == 0
    assert all(f"{t.name['en']} {t.name['zh-CN']}" in listed.output for t in TEMPLATES.values())
    written = runner.invoke(cli, ["new", "--template", "医美"])
    assert written.output == TEMPLATES["aesthetic-medicine"].text
    target = tmp_path / "shop.yaml"
    assert runner.invoke(cli, ["new", "--template", "hotel", "-o", str(target)]).exit_code == 0
    assert target.read_text(encoding="utf-8") == TEMPLATES["hotel"].text
    where = ["--data", str(tmp_path / "data")]
    tried = runner.invoke(cli, [*where, "apply", str(target), "--dry-run"])
    assert tried.exit_code == 0, tried.output
    assert "created experiment hotel-winback" in tried.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "--list shows them"),
        (["--template", "retial"], "did you mean 'retail'"),
        (["--template", "retail", "-o", "HERE"], "is there already"),
        (["--template", "retail", "-o", "HERE/nowhere"], "cannot be written"),
        (["--list", "-o", "HERE"], "--output goes with --template"),
    ],
)
def test_wrong_use_is_said_in_one_line(tmp_path: Path, args: list[str], message: str) -> None:
    there = tmp_path / "there.yaml"
    there.write_text("mine")
    done = CliRunner().invoke(cli, ["new", *(arg.replace("HERE", str(there)) for arg in args)])
    assert (done.exit_code, there.read_text()) == (2, "mine")
    assert message in done.output
    assert done.output.count("\n") == 1
