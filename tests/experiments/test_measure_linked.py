"""Units that are known by several ids, against the oracle on a log in which every id is replaced by hand."""

from __future__ import annotations

from collections import defaultdict

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from experiments.log.rows import DAY_US, DecisionRow, EventRow
from experiments.report.build import build_report
from experiments.sources.log import open_log
from experiments.store import Store
from experiments.store.log_tables import identities
from tests.experiments.measure_oracle import Unit, population
from tests.experiments.measuring import NOW_US, START_US, decided, define, experiment, happened, metric, record
from tests.experiments.test_measure_oracle import log_of

SPEND = metric("spend", "sum", value="value", covariate={"days": 28})


def test_long_exclusion_lists(store: Store) -> None:
    """More than fit into the query, of units that other ids are linked to."""
    staff = [f"staff-{i}" for i in range(1200)]
    define(store, SPEND, experiment({"primary": ["spend"]}, exclude=staff))
    record(store, [decided(f"m{i}", "a" if i % 2 else "control") for i in range(20)])
    record(store, [decided(u, "a") for u in (staff[0], "phone-of-staff-7")])
    link(store, {"staff-7": "staff-7", "phone-of-staff-7": "staff-7"})
    report = build_report(store, "winback", NOW_US)
    assert report.population.left_out == {"excluded": 2}
    assert report.population.analysed == 20


def link(store: Store, groups: dict[str, str], unit_type: str = "member") -> None:
    with store.begin() as connection:
        rows = [{"unit_type": unit_type, "unit": unit, "root": root} for unit, root in groups.items()]
        connection.execute(sa.insert(identities), rows)


def groups_of(seed: int) -> dict[str, str]:
    """Some of the world's ids in groups of two to four, with ids that were never decided among them."""
    rng = np.random.default_rng(seed)
    ids = [f"u{i:03d}" for i in range(160)]
    rng.shuffle(ids)
    roots: dict[str, str] = {}
    while len(ids) > 60:
        group = [ids.pop() for _ in range(int(rng.integers(2, 5)))]
        if rng.random() < 0.5:
            group.append(f"anonymous-{len(ids)}")
        roots |= dict.fromkeys(group, min(group))
    return roots


@pytest.mark.parametrize("seed", [4, 5])
def test_a_group_counts_as_one_unit(store: Store, seed: int) -> None:
    excluded = ["u003", "u004", "u050"]
    define(store, SPEND, experiment({"primary": ["spend"]}, exclude=excluded))
    roots = groups_of(seed)
    rows = log_of(seed)
    # Ids that are only known by links report outcomes too.
    rows += [
        happened("Order Completed", unit, START_US + DAY_US * 4, 777) for unit in roots if unit.startswith("anonymous")
    ]
    record(store, rows)
    link(store, roots)
    link(store, {"u000": "other", "u001": "other"}, unit_type="household")
    report = build_report(store, "winback", NOW_US)

    def root(unit: str) -> str:
        return roots.get(unit, unit)

    renamed = [msgspec.structs.replace(row, unit=root(row.unit)) for row in rows]
    units, left_out = population(
        (r for r in renamed if isinstance(r, DecisionRow)), {*excluded, *map(root, excluded)}, 1
    )
    assert report.population.left_out == left_out
    assert report.population.analysed == len(units)
    events: dict[str, list[EventRow]] = defaultdict(list)
    for row in renamed:
        if isinstance(row, EventRow):
            events[row.unit].append(row)
    sums: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for name, (variant, entry, _) in units.items():
        mine = Unit(entry, events[name])
        sums[variant].append(
            (sum(o.net for o in mine.placed(0, 14)) / 100, sum(o.net for o in mine.placed(-28, 0)) / 100)
        )
    for i, variant in enumerate(("control", "a")):
        assert report.moments[0]["n"][i] == len(sums[variant])  # type: ignore[index]
        np.testing.assert_allclose(report.moments[0]["mean"][i], np.mean(sums[variant], axis=0), rtol=1e-12)  # type: ignore[index]

    seen: dict[str, dict[str, set[str | None]]] = defaultdict(lambda: defaultdict(set))
    first: dict[str, DecisionRow] = {}
    for row in rows:
        if not isinstance(row, DecisionRow) or first.setdefault(row.decision_id, row) is not row:
            continue
        if row.kind == "enrolled" and row.phase == 1 and row.unit in roots:
            seen[root(row.unit)][row.unit].add(row.variant)
    several = [ids for ids in seen.values() if len(ids) > 1]
    conflicts = sum(len(set().union(*ids.values())) > 1 for ids in several)
    found = report.population
    assert (found.linked, found.linked_units) == (sum(map(len, several)), len(several))
    assert found.linked_conflicts == conflicts > 0
    assert any(f"{found.linked} linked ids count as {len(several)} members" in w["en"] for w in report.warnings)


def test_the_first_decision_of_a_group_counts(store: Store) -> None:
    define(store, metric("spend", "sum", value="value", window={"days": 1}), experiment({"primary": ["spend"]}))
    rows: list[DecisionRow | EventRow] = [
        decided("anonymous", "a", START_US),
        decided("member", "a", START_US + 5 * DAY_US),
        decided("c", "control", START_US),
        happened("Order Completed", "member", START_US + 100, 500),
        happened("Order Completed", "anonymous", START_US + 5 * DAY_US + 100, 9_000),
    ]
    record(store, rows)
    link(store, {"anonymous": "anonymous", "member": "anonymous"})
    report = build_report(store, "winback", NOW_US)
    means = report.moments[0]["mean"]
    assert (report.population.analysed, means) == (2, [[0.0], [5.0]])


def test_nobody_linked_reads_the_log_as_it_is(store: Store) -> None:
    define(store, SPEND, experiment({"primary": ["spend"]}))
    record(store, log_of(1))
    before = build_report(store, "winback", NOW_US)
    link(store, {"u001": "u001", "u002": "u001"}, unit_type="household")
    assert build_report(store, "winback", NOW_US).content_hash == before.content_hash
    assert before.population.linked == 0
    store.close()
    with open_log(store.url) as log:
        assert log.identities is not None
