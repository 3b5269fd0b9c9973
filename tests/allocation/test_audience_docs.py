"""docs/audience-rules.md is true: its examples run, its tables answer as they say, its lists are complete."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from allocation.audience import compile_python, parse
from allocation.audience.dates import to_us
from allocation.audience.typecheck import ALL_OPS, MAX_DEPTH, MAX_PARTS, MAX_VALUES, OPS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audience-rules.md"
TEXT = PAGE.read_text(encoding="utf-8")
TYPES = {
    "stage": "string", "tier": "string", "orders": "number", "last_order_at": "date", "tags": "list",
}  # fmt: skip
ROWS = re.findall(r"^\| `(\{.*\})` \| `(\{.*\})` \| (true|false|unknown) \|$", TEXT, re.MULTILINE)
ANSWERS = {"true": True, "false": False, "unknown": None}


def test_the_examples_run() -> None:
    failures, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failures == 0
    assert tried >= 5


@pytest.mark.parametrize(("rule", "attributes", "answer"), ROWS)
def test_the_tables_answer_as_they_say(rule: str, attributes: str, answer: str) -> None:
    now = to_us("2026-03-03T12:00:00Z")
    assert now is not None
    assert compile_python(parse(json.loads(rule), TYPES))(json.loads(attributes), now) is ANSWERS[answer]


def test_nothing_was_missed() -> None:
    assert len(ROWS) == len(re.findall(r"^\| `\{", TEXT, re.MULTILINE))
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    document: Any = yaml.safe_load(block)
    assert parse(document["audience"], TYPES).uses_now
    (inline,) = re.findall(r"^`(\{\"any\".*\})`\.$", TEXT, re.MULTILINE)
    assert compile_python(parse(json.loads(inline), TYPES))({}, 0) is True


def test_the_grammar_is_the_one_that_is_checked() -> None:
    table = TEXT[TEXT.index("| operator |") : TEXT.index("Attributes are declared")]
    described: dict[str, set[str]] = {}
    for operators, kinds in re.findall(r"^\| (`.*?`) \|.*\| ([a-z].*?) \|$", table, re.MULTILINE):
        for op in re.findall(r"`(\w+)`", operators):
            named = {kind for kind in OPS if kind in kinds or kinds == "all"}
            described[op] = named - {"any"}
    assert described == {op: {kind for kind in OPS if op in OPS[kind]} - {"any"} for op in ALL_OPS}
    assert f"nested {MAX_DEPTH} levels deep and have {MAX_PARTS} parts" in TEXT
    assert f"a list of 1 to {MAX_VALUES:,} values" in TEXT
