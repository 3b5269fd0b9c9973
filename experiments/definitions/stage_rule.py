"""A stage rule: ordered predicates that say in which lifecycle stage a member is; no stage is a constant of ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from experiments.definitions.base import Key, Model, Name, Text, refuse
from experiments.definitions.segment import Rule
from experiments.definitions.stage_facts import FACTS, Computed


class Stage(Model):
    """One stage: the first whose rule is true is the member's; a stage without a rule takes everyone who is left."""

    stage: Name
    name: Text | None = None
    rule: Rule | None = None


class StageRule(Model):
    """An ordered list of stages, written into ``attribute``.

    >>> rule = {"attribute": "days_since_order", "op": "lte", "value": 30}
    >>> stages = [{"stage": "active", "rule": rule}, {"stage": "dormant"}]
    >>> [s.stage for s in StageRule(kind="stage_rule", key="retail", stages=stages).stages]
    ['active', 'dormant']
    """

    kind: Literal["stage_rule"]
    key: Key
    name: Text | None = None
    attribute: Name = "stage"
    """The stored attribute the stage is written to."""
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=50)
    computed: Computed | None = None
    """How the service computes the stages from orders; without it another system states them."""

    def fact_types(self) -> dict[str, str]:
        """Return the types of what the rules may ask beside the project's attributes: nothing unless computed."""
        return dict(FACTS) if self.computed is not None else {}

    @model_validator(mode="after")
    def _stages_are_ordered(self) -> StageRule:
        seen: set[str] = set()
        for index, stage in enumerate(self.stages):
            if stage.stage in seen:
                refuse("stage_rule", [(("stages", index, "stage"), f'"{stage.stage}" stands twice; keep one')])
            seen.add(stage.stage)
            if stage.rule is None and index != len(self.stages) - 1:
                why = "only the last stage may leave its rule out; the stages after it would never be reached"
                refuse("stage_rule", [(("stages", index, "rule"), why)])
        return self
