"""Preview: the counts are those of the function that decides, and the money is enrolled × what is issued."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from allocation import MemberState, compile_snapshot, decide
from api.cli import cli
from experiments.definitions.loader import load_text
from experiments.errors import InputError
from experiments.keeping.repository import UnknownKeyError
from experiments.preview import Unit, preview
from experiments.preview_members import convert, from_file, stored
from experiments.publishing.publish import build_snapshot
from experiments.store import Store
from experiments.store.log_tables import members
from tests.experiments.small_shop import NOW, SHOP, changed, definitions, walk

STAGES = ("dormant", "active", None)


def people(count: int = 3_000) -> list[Unit]:
    return [
        Unit(f"m-{n}", {"tier": "gold", **({"stage": STAGES[n % 3]} if STAGES[n % 3] else {})}) for n in range(count)
    ]


def test_counts_are_what_deciding_gives(store: Store) -> None:
    repository = definitions(store)
    result = preview(repository, "winback", [*people(), Unit("robot", {"stage": "dormant"}), Unit("", {})], NOW)
    walk(store, "winback", "review", "running")
    compiled = compile_snapshot(build_snapshot(store, NOW))
    decided = []
    for unit in people():
        known = MemberState(attributes=unit.attributes)
        decided.append(decide(compiled, "winback", unit.unit, now=NOW, state=known))
    for variant in ("control", "a"):
        expected = sum(d.kind == "enrolled" and d.variant == variant for d in decided)
        assert result.counts[variant] == {"dormant": expected}
    assert result.counts["holdout"] == {"dormant": sum(d.kind == "holdout" for d in decided)}
    assert result.members == 3_002
    assert result.unusable == 1
    assert result.left_out["not_in_audience"] == 1_000
    assert result.left_out["missing_attribute"] == result.missing["stage"] == 1_000
    assert result.left_out["excluded"] == 1
    total = result.enrolled + sum(result.counts["holdout"].values()) + sum(result.left_out.values()) + result.unusable
    assert total == result.members


def test_the_cost_is_enrolled_times_face_value_and_contact(store: Store) -> None:
    result = preview(definitions(store), "winback", people(), NOW)
    control, offer = result.costs
    assert (control.liability_minor, control.contact_minor, control.offer) == (0, 0, None)
    assert offer.enrolled == sum(result.counts["a"].values()) > 50
    assert offer.liability_minor == offer.enrolled * 2_000
    assert offer.contact_minor == offer.enrolled * Fraction(9, 2)
    assert (result.liability_minor, result.contact_minor) == (offer.liability_minor, offer.contact_minor)


def test_overlap_with_a_running_test_is_counted(store: Store) -> None:
    repository = definitions(store)
    twin = changed(repository, layer=None, overrides={}, traffic="1").model_copy(update={"key": "twin"})
    neighbour = changed(repository, layer={"key": "coupons", "slots": [["0.5", "1"]]}, overrides={})
    repository.apply([twin, neighbour.model_copy(update={"key": "neighbour"})], "ann")
    for key in ("twin", "neighbour"):
        walk(store, key, "review", "running")
    result = preview(repository, "winback", people(), NOW)
    by_key = {overlap.experiment: overlap for overlap in result.overlaps}
    assert by_key["twin"].both == result.enrolled, "the twin takes every dormant member who is not held out"
    assert not by_key["twin"].same_layer
    assert (by_key["neighbour"].both, by_key["neighbour"].same_layer) == (0, True)
    alone = preview(repository, "twin", people(), NOW)
    assert any("no layer keeps them apart" in warning for warning in alone.warnings)


def test_too_few_members_are_noted(store: Store) -> None:
    repository = definitions(store)
    repository.apply([changed(repository, planned_units=40_000)], "ann")
    result = preview(repository, "winback", people(300), NOW)
    assert result.warnings == [f"{result.enrolled} would be enrolled, fewer than the 40,000 planned"]
    nobody = preview(repository, "winback", [Unit("m", {"stage": "new"})], NOW)
    assert nobody.warnings == ["nobody would be enrolled; see the reasons below"]


def test_days_that_hang_on_the_hour_are_noted(store: Store) -> None:
    repository = definitions(store)
    dated = SHOP.replace("  tier: {type: string}\n", "  tier: {type: string}\n  last_order_at: {type: date}\n")
    rule = {"attribute": "last_order_at", "op": "days_since", "gte": 30}
    repository.apply(load_text(dated), "ann")
    repository.apply([changed(repository, audience=rule)], "ann")
    result = preview(repository, "winback", [Unit("m", {"last_order_at": "2020-01-01"})], NOW)
    assert any(warning.startswith("days_since counts 24 hours at a time") for warning in result.warnings)


def test_stored_members_and_a_file_give_the_same(store: Store, tmp_path: Path) -> None:
    repository = definitions(store)
    with store.begin() as connection:
        connection.execute(
            sa.insert(members),
            [
                {
                    "unit_type": "member",
                    "unit": unit.unit,
                    "attributes": json.dumps(unit.attributes),
                    "opted_out": False,
                    "updated_at": NOW,
                    "stated_at": "{}",
                }
                for unit in people()
            ],
        )
    file = tmp_path / "members.csv"
    lines = ["id,stage,tier", *(f"{u.unit},{u.attributes.get('stage', '')},gold" for u in people())]
    file.write_bytes("\n".join(lines).encode())
    one = preview(repository, "winback", stored(store, "member"), NOW)
    two = preview(repository, "winback", from_file(file, repository.project()), NOW)
    assert (one.counts, one.left_out, one.costs) == (two.counts, two.left_out, two.costs)


def test_an_unknown_experiment_is_named(store: Store) -> None:
    with pytest.raises(UnknownKeyError, match='experiment "winbak" is not defined; did you mean "winback"'):
        preview(definitions(store), "winbak", [], NOW)


@pytest.mark.parametrize(
    ("value", "kind"), [("ten", "number"), ("nan", "number"), ("maybe", "boolean"), ("[1", "list")]
)
def test_a_value_that_does_not_fit_is_refused(value: str, kind: str) -> None:
    with pytest.raises(ValueError):
        convert(value, kind)


def test_a_wrong_value_in_a_file_is_placed(tmp_path: Path) -> None:
    project = load_text("kind: project\nname: P\ncurrency: CNY\nattributes: {spend: {type: number}}\n")[0].definition
    file = tmp_path / "m.csv"
    file.write_text("id,spend\na,1\nb,ten\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"m\.csv, row 2, column spend: 'ten' is not a number"):
        list(from_file(file, project))  # type: ignore[arg-type]


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["--data", str(folder / "data"), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_command_line_walks_from_a_file_to_a_running_experiment(tmp_path: Path) -> None:
    shop, wrong, people_file = tmp_path / "shop.yaml", tmp_path / "wrong.yaml", tmp_path / "m.csv"
    shop.write_text(SHOP, encoding="utf-8")
    wrong.write_text("kind: layer\nkey: a\nnam: x\n", encoding="utf-8")
    people_file.write_text("id,stage\n" + "\n".join(f"m-{n},dormant" for n in range(500)), encoding="utf-8")
    code, output = run(tmp_path, "export")
    assert (code, output) == (2, "equipoise: the database is not up to date; run equipoise migrate first\n")
    code, output = run(tmp_path, "apply", str(wrong))  # makes an embedded database that is not there yet
    assert code == 2
    assert output == f'equipoise: {wrong}, document 1, line 3, /nam: unknown key; did you mean "name"?\n'
    code, output = run(tmp_path, "apply", str(shop), "--dry-run")
    assert (code, output.splitlines()[-1]) == (0, "Nothing was written (--dry-run).")
    assert "created experiment winback (revision 1)" in run(tmp_path, "apply", str(shop))[1]
    assert run(tmp_path, "apply", str(shop)) == (0, "7 unchanged\n")
    code, output = run(tmp_path, "preview", "winback", "--members", str(people_file))
    assert code == 0
    assert "500 members" in output
    assert "at most, all redeemed" in output
    code, output = run(tmp_path, "preview", "winback", "--members", str(people_file), "--output", "json")
    assert json.loads(output)["currency"] == "CNY"
    code, output = run(tmp_path, "preview", "winback", "--by", "stge")
    assert (code, "did you mean 'stage'" in output) == (2, True)
    code, output = run(tmp_path, "preview", "winback", "--members", str(tmp_path / "absent.csv"))
    assert (code, "no such file" in output) == (2, True)
    code, output = run(tmp_path, "transition", "winback", "running")
    assert (code, "it can move to review" in output) == (2, True)
    for state in ("review", "testing", "running"):
        assert run(tmp_path, "transition", "winback", state)[1].startswith(f"winback is {state}; next: ")
    out = tmp_path / "out.yaml"
    assert run(tmp_path, "export", "winback", "-o", str(out))[0] == 0
    assert run(tmp_path, "apply", str(out)) == (0, "6 unchanged\n")
    assert len(list((tmp_path / "data" / "snapshots").glob("snapshot-*.json"))) == 3
