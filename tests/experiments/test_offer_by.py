"""A variant that gives each member its own offer, from its definition to lists, files, previews and what it cost."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from allocation.compiled import compile_snapshot
from allocation.decide import decide
from api.cli import cli
from experiments.assignments.assign import assign_file
from experiments.assignments.carry_out import carry_out
from experiments.assignments.request import LIST, RESULT, ListRequest
from experiments.definitions.errors import DefinitionError
from experiments.jobs import files
from experiments.keeping.exporting import export
from experiments.keeping.repository import Repository
from experiments.log.absorb import absorb
from experiments.log.rows import DAY_US, TraitsRow
from experiments.preview import Unit, preview
from experiments.publishing.plans import snapshot_of
from experiments.publishing.publish import publish
from experiments.report.build import build_report
from experiments.settings import Settings
from experiments.store import Store
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record
from tests.experiments.small_shop import walk

PROJECT = {
    "kind": "project",
    "name": "Shop",
    "currency": "CNY",
    "time_zone": "Asia/Shanghai",
    "attributes": {"best": {"type": "string", "kept": "request"}, "age": {"type": "number", "kept": "request"}},
}
OFFERS = [
    {"kind": "offer", "key": key, "name": key, "type": "fixed_coupon", "face_value": face, "contact_cost": {"sms": c}}
    for key, face, c in (("small", "5.00", "0.05"), ("large", "20.00", "0.10"))
]
PROFIT = metric("profit", "profit", margin={"rate": "0.4"})
ARMS: list[dict[str, Any]] = [
    {"key": "control"},
    {"key": "all", "offer": "small", "channel": "sms"},
    {"key": "policy", "offer_by": "best", "channel": "sms"},
]


def defined(store: Store, **fields: Any) -> None:
    define(store, *OFFERS, PROFIT, experiment({"primary": ["profit"]}, **{"variants": ARMS, **fields}), project=PROJECT)


def own(number: int) -> str | None:
    return ("small", "large", "", None, "vanished")[number % 5]


def test_the_launch_freezes_every_offer_and_the_snapshot_carries_them(store: Store) -> None:
    defined(store)
    walk(store, "winback", "review", "testing", "running", now=START_US)
    define(store, {**OFFERS[1], "face_value": "50.00"}, project=PROJECT)
    snapshot = snapshot_of(Repository(store), "v1", 0)
    plan = snapshot.experiments["winback"]
    assert (plan.requires, plan.frozen) == (("offer_by",), ("best",))
    compiled = compile_snapshot(snapshot)
    given: dict[Any, Any] = {}
    for number in range(600):
        attributes = {} if own(number) is None else {"best": own(number)}
        answer = decide(compiled, "winback", f"m-{number}", now=NOW_US, attributes=attributes)
        if answer.variant == "policy":
            offer = answer.offer or {}
            given.setdefault(own(number), (offer.get("key"), offer.get("face_value"), offer.get("channel")))
    nothing = (None, None, None)
    large = ("large", "20.00", "sms")  # as it was at the launch
    assert given == {"small": ("small", "5.00", "sms"), "large": large, "": nothing, None: nothing, "vanished": nothing}
    exported = export(Repository(store), [("experiment", "winback")])
    assert "key: large" in exported
    assert "offer_by: best" in exported


def test_what_does_not_go_together_is_refused_where_it_stands(store: Store) -> None:
    for variant, words in (
        ({"key": "policy", "offer_by": "age"}, '"age" is a number'),
        ({"key": "policy", "offer_by": "mood"}, '"mood" is not an attribute'),
        ({"key": "policy", "offer_by": "best", "offer": "small"}, "stands beside offer"),
    ):
        with pytest.raises(DefinitionError) as refused:
            defined(store, variants=[{"key": "control"}, variant])
        assert words in str(refused.value)
    allocation = {"policy": "igw", "features": [{"attribute": "age"}], "reward": {"metric": "profit"}}
    with pytest.raises(DefinitionError, match="does not go with a policy that learns"):
        defined(store, allocation=allocation, enrolment="rolling")


def a_list(rows: int) -> bytes:
    lines = [f"m-{number},{own(number) or ''}" for number in range(rows)]
    return "\n".join(["unit,best", *lines]).encode()


def test_a_list_carries_the_attribute_and_its_answer_the_offer(store: Store, tmp_path: Path) -> None:
    defined(store)
    now = time.time_ns() // 1000
    walk(store, "winback", "review", "testing", "running", now=now)
    settings = Settings.from_env({}, data=str(tmp_path / "data"))
    publish(store, settings, now)
    content = a_list(300)

    def answers(occasion: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
        request = ListRequest("winback", hashlib.sha256(content).hexdigest(), occasion=occasion)
        files.save(store, request.job_id, LIST, [content], name="list.csv")
        result = carry_out(store, settings, request, lambda done, total: None)
        kept = files.find(store, request.job_id, RESULT)
        assert kept is not None
        return result, list(csv.DictReader(io.StringIO(b"".join(files.read(store, kept)).decode())))

    result, rows = answers("june")
    assert answers("june")[1] == rows, "once more gives the same"
    missing = {"none": 0, "unknown": 0}
    for number, row in enumerate(rows):
        mine = own(number) if own(number) in ("small", "large") else ""
        assert row["offer"] == {"control": "", "all": "small", "policy": mine}[row["variant"]]
        if row["variant"] == "policy" and not mine:
            missing["unknown" if own(number) == "vanished" else "none"] += 1
    assert result["without_offer"] == {"policy": missing}

    # The same in one query of DuckDB.
    source, target = tmp_path / "list.csv", tmp_path / "out.csv"
    source.write_bytes(content)
    compiled = compile_snapshot(snapshot_of(Repository(store), "v1", 0)).experiments["winback"]
    found = assign_file(source, target, compiled, now=now, occasion="june")
    assert any("their column best" in line for line in found.caveats)
    for row, other in zip(rows, csv.DictReader(target.open(encoding="utf-8")), strict=True):
        assert (json.loads(other["offer"])["key"] if other["offer"] else "") == row["offer"]
        assert other["variant"] == row["variant"]


def test_a_preview_adds_up_what_each_member_would_be_given(store: Store) -> None:
    defined(store)
    units = [Unit(f"m-{n}", {} if own(n) is None else {"best": own(n)}) for n in range(300)]
    found = {cost.variant: cost for cost in preview(Repository(store), "winback", units, START_US).costs}
    compiled = compile_snapshot(_running(store))
    policy = [n for n in range(300) if decide(compiled, "winback", f"m-{n}", now=0).variant == "policy"]
    small, large = (sum(own(n) == key for n in policy) for key in ("small", "large"))
    cost = found["policy"]
    assert (cost.offer, cost.each_minor, cost.enrolled) == ("by best", None, len(policy))
    assert cost.liability_minor == 500 * small + 2000 * large
    assert cost.contact_minor == 5 * small + 10 * large
    assert (found["all"].each_minor, found["all"].offer) == (500, "small")
    without = sum(own(n) not in ("small", "large") for n in policy)
    assert (cost.without_offer, found["all"].without_offer) == (without, 0)


def test_a_preview_without_the_attribute_says_why_there_is_no_figure(store: Store) -> None:
    defined(store)
    found = preview(Repository(store), "winback", [Unit(f"m-{n}", {"age": 30.0}) for n in range(300)], START_US)
    cost = {each.variant: each for each in found.costs}["policy"]
    assert cost.enrolled > 50
    assert (cost.liability_minor, cost.contact_minor, cost.without_offer) == (None, None, cost.enrolled)
    assert "no member's best is known here: preview a list that has it as a column" in (cost.why or "")
    assert any(warning.startswith("policy: its cost is not known, and not in the sum") for warning in found.warnings)
    # Nobody is chosen for: that is known, and costs nothing.
    nothing = preview(Repository(store), "winback", [Unit(f"m-{n}", {"best": ""}) for n in range(300)], START_US)
    cost = {each.variant: each for each in nothing.costs}["policy"]
    assert (cost.liability_minor, cost.contact_minor, cost.why) == (0, 0, None)


def test_the_command_previews_a_list_with_each_members_own_offer(store: Store, tmp_path: Path) -> None:
    defined(store)
    listed, bare = tmp_path / "audience.csv", tmp_path / "bare.csv"
    listed.write_bytes(a_list(300))
    bare.write_text("unit\n" + "\n".join(f"m-{n}" for n in range(300)))
    where = ["--database", store.url, "preview", "winback", "--members"]
    runs = [CliRunner().invoke(cli, [*where, str(path)]) for path in (listed, bare)]
    assert [run.exit_code for run in runs] == [0, 0], runs[0].output
    assert "have no offer of their own, and get none" in runs[0].output
    assert "each own" in runs[0].output
    assert "not known" in runs[1].output
    assert "preview a list that has it as a column" in runs[1].output
    # What is stored of members counts where their list does not say it.
    held = [TraitsRow("crm", "member", f"m-{n}", 0, 0, json.dumps({"best": "small"}), False) for n in range(300)]
    with store.begin() as connection:
        absorb(connection, held, 0)
    known = CliRunner().invoke(cli, [*where, str(bare)])
    assert known.exit_code == 0, known.output
    assert "not known" not in known.output
    assert "no offer of their own" not in known.output


def _running(store: Store) -> Any:
    import msgspec

    snapshot = snapshot_of(Repository(store), "v1", 0)
    from experiments.publishing.plans import plan_of

    plan = plan_of(Repository(store), Repository(store).experiment("winback"))
    return msgspec.structs.replace(
        snapshot, experiments={"winback": msgspec.structs.replace(plan, state="running", start=None)}
    )


def test_profit_prices_contacts_and_redemptions_by_what_was_frozen(store: Store) -> None:
    """Against the sum written out by hand: 40 % of ¥100 orders, less the member's own coupon, less its own message."""
    defined(store)
    walk(store, "winback", "review", "testing", "running", now=START_US)
    rows: list[Any] = []
    expected: dict[str, list[float]] = {"control": [], "all": [], "policy": []}
    face, contact = {"small": 5.0, "large": 20.0}, {"small": 0.05, "large": 0.10}
    for number in range(900):
        variant, unit = ("control", "all", "policy")[number % 3], f"m-{number}"
        frozen = {} if own(number) is None else {"best": own(number)}
        rows.append(decided(unit, variant, frozen=json.dumps(frozen), propensity=1 / 3))
        key = {"control": None, "all": "small", "policy": own(number)}[variant]
        profit = -contact.get(key or "", 0.0)
        if number % 4 == 0:
            rows.append(happened("Order Completed", unit, START_US + DAY_US, 10_000, object_id=f"o{number}"))
            profit += 40.0
            if number % 8 == 0:
                # Names no offer: then it is the member's own that was used.
                rows.append(happened("Coupon Redeemed", unit, START_US + DAY_US, None, object_id=f"o{number}"))
                profit -= face.get(key or "", 0.0)
        expected[variant].append(profit)
    record(store, rows)
    report = build_report(store, "winback", NOW_US)
    named = {variant.key: variant.offer_name.get("en") for variant in report.plan.variants}
    assert named == {"control": None, "all": "small", "policy": "each member's own, by best"}
    found = next(m for m in report.metrics if m.name == "profit")
    means = {row.variant: row.mean for row in found.variants}
    for variant, values in expected.items():
        assert means[variant] == pytest.approx(sum(values) / len(values), abs=1e-9)
