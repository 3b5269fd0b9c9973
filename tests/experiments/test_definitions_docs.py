"""The YAML of docs/definitions.md is applied as it stands, and what the page says of it is true."""

from __future__ import annotations

import re
from pathlib import Path

from experiments.definitions import Experiment
from experiments.definitions.loader import load_text
from experiments.definitions.offer import _NEEDS, CHANNELS
from experiments.keeping.repository import Repository
from experiments.lifecycle.transition import transition
from experiments.publishing.publish import build_snapshot
from experiments.store import Store

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "definitions.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_is_one_working_set(store: Store) -> None:
    repository = Repository(store)
    documents = load_text("\n---\n".join(BLOCKS), "definitions.md")
    assert {change.action for change in repository.apply(documents, "reader")} == {"created"}
    for state in ("review", "testing", "running"):
        transition(store, "dormant-winback", state, "reader")
    plan = build_snapshot(store, 0).experiments["dormant-winback"]
    assert (plan.sticky, plan.phase.weights, plan.phase.traffic) == (True, (1, 2, 1), "0.8")
    assert [holdout.key for holdout in plan.holdouts] == ["global-2026h1"]


def test_every_offer_type_and_channel_is_on_the_page() -> None:
    for name, needs in _NEEDS.items():
        (row,) = re.findall(rf"^\| `{name}`.*$", PAGE, re.MULTILINE)
        assert all(f"`{field}`" in row for field in needs)
    assert all(f"`{channel}`" in PAGE for channel in CHANNELS)


def test_every_field_of_an_experiment_is_on_the_page() -> None:
    for field in set(Experiment.model_fields) - {"kind", "key", "description"}:
        assert re.search(rf"\b{field}\b", PAGE), field
