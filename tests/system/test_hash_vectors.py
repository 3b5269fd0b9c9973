"""docs/hash-vectors.json in four engines that share no code: the service, Node, DuckDB and PostgreSQL.

The vectors come from docs/hash_vectors.py, which uses the standard library and whole-number arithmetic alone.
"""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest

from allocation import ExperimentPlan, PhasePlan, Snapshot, VariantPlan, compile_snapshot, decide, decision_id
from allocation.compiled import compile_experiment, share, upper_text
from allocation.hashing import DIGITS, SPACE, bound, bounds, digest, hex_bound, u

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, list[dict[str, Any]]] = json.loads((ROOT / "docs/hash-vectors.json").read_text(encoding="utf-8"))
VECTORS = DOCUMENT["vectors"]


def plan(weights: list[int], *, salt: str = "s", traffic: str = "1") -> ExperimentPlan:
    variants = tuple(VariantPlan(str(i)) for i in range(len(weights)))
    return ExperimentPlan("x", 1, "running", variants, (PhasePlan(1, salt, tuple(weights), traffic),))


def test_there_are_enough_vectors_of_every_kind() -> None:
    assert len(VECTORS) >= 60
    assert len({json.dumps([v["salt"], v["unit"], v["weights"], v["traffic"]]) for v in VECTORS}) == len(VECTORS)
    sizes = {len(v["unit"].encode()) for v in VECTORS}
    assert {1, 255, 256} <= sizes
    assert max(sizes) == 256
    assert {v["variant"] for v in VECTORS if v["weights"] == [1] * 10} == set(range(10))
    # 400,000 units leave gaps of about 2**52 / 400,000 around a bound: the nearest ones lie within 40 of those.
    near = [v for v in VECTORS if "just" in v["name"]]
    assert len(near) == 12
    for v in near:
        kind, side, at = v["name"].split()[0], v["name"].split()[2], v["name"].split()[3]
        gap = int(v[f"{kind.rstrip(':')}_digits"], 16) - bound(Fraction(at))
        assert abs(gap) < 40 * SPACE / 400_000
        assert (gap < 0) == (side == "under")


def test_the_generator_writes_the_same_bytes(tmp_path: Path) -> None:
    copy = tmp_path / "hash_vectors.py"
    copy.write_text((ROOT / "docs/hash_vectors.py").read_text(encoding="utf-8"), encoding="utf-8")
    runpy.run_path(str(copy), run_name="__main__")
    assert (tmp_path / "hash-vectors.json").read_bytes() == (ROOT / "docs/hash-vectors.json").read_bytes()


@pytest.mark.parametrize("v", VECTORS, ids=lambda v: v["name"])
def test_the_service(v: dict[str, Any]) -> None:
    text = digest(v["salt"], v["unit"])
    assert text == v["sha256"]
    assert (text[:13], text[13:26], u(v["salt"], v["unit"])) == (v["variant_digits"], v["traffic_digits"], v["u"])
    assert list(bounds(v["weights"])) == v["upper_bounds"]
    assert bound(Fraction(v["traffic"])) == v["traffic_bound"]
    snapshot = compile_snapshot(Snapshot("v", 0, {"x": plan(v["weights"], salt=v["salt"], traffic=v["traffic"])}))
    answer = decide(snapshot, "x", v["unit"], now=0)
    assert answer.variant == (str(v["variant"]) if v["enrolled"] else None)
    assert answer.reason == ("assigned" if v["enrolled"] else "not_in_traffic")


def test_the_service_on_exact_bounds() -> None:
    for rest in ("", "0" * 51, "f" * 51):  # what follows the digits in a digest must not matter
        for v in DOCUMENT["boundaries"]:
            compiled = compile_experiment(plan(v["weights"]))
            outcome = compiled.outcomes[bisect_right(compiled.uppers, v["digits"] + rest)]
            assert outcome.variant == str(v["variant"]), v
        for v in DOCUMENT["gate_boundaries"]:
            below = upper_text(bound(share(v["traffic"], "traffic")))
            assert (v["digits"] + rest < below) == v["enrolled"], v


def test_identities() -> None:
    for v in DOCUMENT["decision_ids"]:
        key, phase, unit_type, unit, occasion = v["array"]
        assert decision_id(key, phase, unit_type, unit, occasion) == v["decision_id"]
        one = ExperimentPlan(
            key, 1, "running", (VariantPlan("a"),), (PhasePlan(phase, "s", (1,)),), unit_type=unit_type
        )
        answer = decide(compile_snapshot(Snapshot("v", 0, {key: one})), key, unit, now=0, occasion=occasion)
        assert answer.decision_id == v["decision_id"]


def test_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("NOT CHECKED in JavaScript: install Node to check docs/hash-vectors.json there")
    script = ROOT / "tests/system/hash_vectors.js"
    questions = {
        name: [{k: v for k, v in item.items() if k in QUESTION} for item in items]
        for name, items in DOCUMENT.items()
        if isinstance(items, list)
    }
    ran = subprocess.run([node, script], input=json.dumps(questions), capture_output=True, text=True, check=True)
    answers = json.loads(ran.stdout)
    for name, items in questions.items():
        assert len(answers[name]) == len(items)
        for asked, answered, expected in zip(items, answers[name], DOCUMENT[name], strict=True):
            assert {**asked, **answered} == {k: v for k, v in expected.items() if k != "name"}


QUESTION = {"salt", "unit", "weights", "traffic", "digits", "array"}


# ---- SQL: digits compared as text with 13-digit bounds ------------------------------------------


def case(digits: str, uppers: list[int]) -> str:
    """First variant whose bound is above the digits; a bound of 2**52 is everything that is left."""
    whens = "".join(
        f" WHEN {f'{digits} < {hex_bound(upper)!r}' if upper < SPACE else 'TRUE'} THEN {i}"
        for i, upper in enumerate(uppers)
    )
    return f"CASE{whens} END"


def below(digits: str, upper: int) -> str:
    return "TRUE" if upper == SPACE else f"{digits} < '{hex_bound(upper)}'"


def check_in_sql(ask: Callable[[str, tuple[str, ...]], tuple[Any, ...]], h: str, text: str, mark: str) -> None:
    """Check all vectors.

    Args:
        ask: runs a query with parameters and returns its one row.
        h: expression for the hex digest of salt, colon and unit.
        text: pattern that makes an expression compare as bytes.
        mark: parameter mark.
    """
    first, second = text.format(f"substr(h, 1, {DIGITS})"), text.format(f"substr(h, {DIGITS + 1}, {DIGITS})")
    for v in VECTORS:
        chosen = f"{case(first, v['upper_bounds'])}, {below(second, v['traffic_bound'])}"
        row = ask(f"SELECT h, {first}, {second}, {chosen} FROM (SELECT {h} AS h) AS d", (v["salt"], v["unit"]))
        expected = (v["sha256"], v["variant_digits"], v["traffic_digits"], v["variant"], v["enrolled"])
        assert row == expected, v["name"]
    digits = text.format("d")
    for v in DOCUMENT["boundaries"]:
        row = ask(f"SELECT {case(digits, list(bounds(v['weights'])))} FROM (SELECT {mark} AS d) AS d", (v["digits"],))
        assert row == (v["variant"],), v
    for v in DOCUMENT["gate_boundaries"]:
        row = ask(f"SELECT {below(digits, v['traffic_bound'])} FROM (SELECT {mark} AS d) AS d", (v["digits"],))
        assert row == (v["enrolled"],), v


def test_duckdb() -> None:
    connection = duckdb.connect()

    def ask(query: str, values: tuple[str, ...]) -> tuple[Any, ...]:
        row = connection.execute(query, values).fetchone()
        assert row is not None
        return row

    check_in_sql(ask, "sha256(?::VARCHAR || ':' || ?::VARCHAR)", "{}", "?::VARCHAR")


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(postgres_url.replace("postgresql+psycopg://", "postgresql://")) as connection:
        yield connection


@pytest.mark.postgres
def test_postgresql(postgres: Any) -> None:
    def ask(query: str, values: tuple[str, ...]) -> tuple[Any, ...]:
        return tuple(postgres.execute(query, values).fetchone())

    check_in_sql(
        ask, "encode(sha256(convert_to(%s::text || ':' || %s::text, 'UTF8')), 'hex')", '({} COLLATE "C")', "%s::text"
    )
