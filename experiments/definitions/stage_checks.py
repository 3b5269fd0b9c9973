"""Whether a stage rule that is computed has somewhere to write to, and asks for what can be computed."""

from __future__ import annotations

from collections.abc import Iterator

from allocation.audience import RuleError, parse
from experiments.definitions.errors import Problem, nearest
from experiments.definitions.project import Project
from experiments.definitions.stage_facts import FACTS, OF_LOGIN
from experiments.definitions.stage_rule import StageRule


def check_computed(project: Project | None, stages: StageRule) -> Iterator[Problem]:
    """Yield what is wrong with the ``computed`` part of a stage rule."""
    computed = stages.computed
    if computed is None:
        return
    attributes = project.attributes if project else {}
    units = project.unit_types if project else ("member",)
    if computed.unit_type not in units:
        advice = f"add it to unit_types in the project; {nearest(computed.unit_type, units)}"
        yield Problem(f'"{computed.unit_type}" is not a unit type; {advice}', "/computed/unit_type")
    wanted = [(stages.attribute, "string", "/attribute")]
    wanted += [(name, FACTS[name], f"/computed/keep/{index}") for index, name in enumerate(computed.keep)]
    if computed.joined is not None:
        wanted.append((computed.joined, "date", "/computed/joined"))
    for name, kind, place in wanted:
        found = attributes.get(name)
        if found is None or found.type != kind or found.kept != "stored":
            yield Problem(
                f'"{name}" must be a stored attribute of type {kind}; declare it under attributes in the project', place
            )
    for index, stage in enumerate(stages.stages):
        for name in sorted(_asked(stage.rule)):
            if name in OF_LOGIN and computed.login is None:
                why = f'"{name}" needs to know what a login is; name the event under computed: {{login: …}}'
                yield Problem(why, f"/stages/{index}/rule")
            elif name not in FACTS and name in attributes and attributes[name].kept == "request":
                why = f'"{name}" is known only while a decision is asked for; use a stored attribute or a fact'
                yield Problem(why, f"/stages/{index}/rule")


def _asked(rule: object) -> frozenset[str]:
    """Return the attributes that a rule reads; one that cannot be read is refused elsewhere."""
    if rule is None:
        return frozenset()
    try:
        return frozenset(parse(rule, None).attributes)
    except RuleError:
        return frozenset()
