"""Who an experiment is for, as people say it, in English and Chinese; and what attributes and levels are called.

``{"attribute": "stage", "op": "in", "value": ["active", "new"]}`` reads "Active or New" where a stage rule names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.definitions import Experiment, Segment, StageRule
from experiments.definitions.catalogue import Catalogue
from experiments.report.document import Text

LANGUAGES = ("en", "zh-CN")
EVERYONE: Text = {"en": "Everyone", "zh-CN": "全部会员"}
MOST_VALUES = 4
"""A longer list of values is cut: "one of A, B, C, D and 96 more"."""


@dataclass(frozen=True)
class Names:
    """What attributes and their levels are called; both may lack a name, and then read as they are written."""

    attributes: Mapping[str, Text] = field(default_factory=dict)
    levels: Mapping[str, Mapping[str, Text]] = field(default_factory=dict)
    """Attribute → level → name: those that the project names, and lifecycle stages."""
    experiments: Mapping[str, Text] = field(default_factory=dict)

    @classmethod
    def of(cls, catalogue: Catalogue) -> Names:
        """Collect the names that the project and the stage rules give."""
        project = catalogue.project
        attributes = {k: dict(a.label) for k, a in project.attributes.items() if a.label} if project else {}
        declared = project.attributes if project else {}
        levels = {k: {level: dict(name) for level, name in a.levels.items()} for k, a in declared.items() if a.levels}
        for rule in catalogue.definitions.values():
            if isinstance(rule, StageRule):
                named = {stage.stage: dict(stage.name) for stage in rule.stages if stage.name}
                levels[rule.attribute] = {**levels.get(rule.attribute, {}), **named}
        experiments = {e.key: dict(e.name) for e in catalogue.definitions.values() if isinstance(e, Experiment)}
        return cls(attributes, levels, experiments)

    def attribute(self, name: str) -> Text:
        """Return an attribute's name, empty where it has none."""
        return dict(self.attributes.get(name, {}))

    def experiment(self, key: str) -> Text:
        """Return an experiment's name, empty where it has none."""
        return dict(self.experiments.get(key, {}))

    def level(self, attribute: str, level: str) -> Text:
        """Return a level's name, empty where it has none."""
        return dict(self.levels.get(attribute, {}).get(level, {}))


def audience_text(experiment: Experiment, catalogue: Catalogue, segment: Segment | None = None) -> Text:
    """Return who an experiment is for.

    Args:
        experiment: with a rule, a segment, both or neither.
        catalogue: where names and the segment are found.
        segment: the segment's revision that counts; by default the catalogue's.
    """
    names = Names.of(catalogue)
    found = segment
    if found is None and experiment.segment is not None:
        found = catalogue.get(Segment, "segment", experiment.segment)
    parts: list[Text] = []
    if found is not None:
        parts.append(dict(found.name) if found.name else rule_text(found.rule, names))
    if experiment.audience is not None:
        parts.append(rule_text(experiment.audience, names))
    if not parts:
        return dict(EVERYONE)
    return {lang: _JOINTS["all"][lang].join(_in(part, lang) for part in parts) for lang in LANGUAGES}


def rule_text(rule: Mapping[str, Any], names: Names) -> Text:
    """Return an audience rule as a phrase.

    Args:
        rule: as it is written; it has been checked when it was saved.
        names: of attributes and levels.

    >>> rule_text({"attribute": "last_order", "op": "days_since", "gte": 91, "lte": 180}, Names())["en"]
    'last_order 91–180 days ago'
    >>> rule_text({"not": {"attribute": "tier", "op": "eq", "value": "gold"}}, Names())["zh-CN"]
    '非（tier为gold）'
    """
    return {lang: _phrase(rule, names, lang, within="") for lang in LANGUAGES}


def _phrase(rule: Mapping[str, Any], names: Names, lang: str, within: str) -> str:
    for word in ("all", "any"):
        if word in rule:
            parts = [_phrase(part, names, lang, within=word) for part in rule[word]]
            text = _JOINTS[word][lang].join(parts)
            return _BRACKETS[lang].format(text) if within not in ("", word) and len(parts) > 1 else text
    if "not" in rule:
        inner = _phrase(rule["not"], names, lang, within="")
        return {"en": "not ({})", "zh-CN": "非（{}）"}[lang].format(inner)
    return _leaf(rule, names, lang)


def _leaf(rule: Mapping[str, Any], names: Names, lang: str) -> str:
    attribute, op = str(rule["attribute"]), str(rule["op"])
    value = rule.get("value")
    name = _in(names.attribute(attribute), lang) or attribute
    if op == "days_since":
        return _days(name, rule.get("gte"), rule.get("lte"), lang)
    if op == "exists":
        op = "missing" if value is False else "exists"
    listed = [value] if not isinstance(value, list) else value
    if op in ("eq", "in") and all(names.level(attribute, str(v)) for v in listed):
        # A named level says what it is a level of: "Dormant", not "Lifecycle stage is Dormant".
        return _values(attribute, listed, names, lang)
    if op == "between":
        return _FORMS[op][lang].format(name=name, low=listed[0], high=listed[1])
    return _FORMS[op][lang].format(name=name, value=_values(attribute, listed, names, lang))


def _values(attribute: str, values: Sequence[Any], names: Names, lang: str) -> str:
    shown = [_in(names.level(attribute, str(v)), lang) or _value(v, lang) for v in values[:MOST_VALUES]]
    more = len(values) - len(shown)
    if more > 0:
        return {"en": "{} and {} more", "zh-CN": "{}等 {} 项"}[lang].format(
            {"en": ", ", "zh-CN": "、"}[lang].join(shown), more if lang == "en" else len(values)
        )
    if lang != "en":
        return "、".join(shown)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _value(value: Any, lang: str) -> str:
    if isinstance(value, bool):
        return {"en": ("no", "yes"), "zh-CN": ("否", "是")}[lang][value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _days(name: str, gte: int | None, lte: int | None, lang: str) -> str:
    code = "days_between" if gte is not None and lte is not None else "days_gte" if gte is not None else "days_lte"
    return _FORMS[code][lang].format(name=name, gte=gte, lte=lte)


def _in(text: Text, lang: str) -> str:
    return text.get(lang) or next(iter(text.values()), "")


_JOINTS: dict[str, Text] = {"all": {"en": "; ", "zh-CN": "，且"}, "any": {"en": " or ", "zh-CN": "，或"}}
_BRACKETS: Text = {"en": "({})", "zh-CN": "（{}）"}
_FORMS: dict[str, Text] = {
    "eq": {"en": "{name} is {value}", "zh-CN": "{name}为{value}"},
    "ne": {"en": "{name} is not {value}", "zh-CN": "{name}不为{value}"},
    "in": {"en": "{name} is {value}", "zh-CN": "{name}为{value}"},
    "not_in": {"en": "{name} is not {value}", "zh-CN": "{name}不为{value}"},
    "lt": {"en": "{name} below {value}", "zh-CN": "{name}低于 {value}"},
    "lte": {"en": "{name} at most {value}", "zh-CN": "{name}至多 {value}"},
    "gt": {"en": "{name} above {value}", "zh-CN": "{name}高于 {value}"},
    "gte": {"en": "{name} at least {value}", "zh-CN": "{name}至少 {value}"},
    "between": {"en": "{name} {low} to {high}", "zh-CN": "{name} {low} 至 {high}"},
    "contains": {"en": "{name} contains {value}", "zh-CN": "{name}含{value}"},
    "starts_with": {"en": "{name} starts with {value}", "zh-CN": "{name}以{value}开头"},
    "exists": {"en": "{name} known", "zh-CN": "{name}已知"},
    "missing": {"en": "{name} not known", "zh-CN": "{name}未知"},
    "days_between": {"en": "{name} {gte}–{lte} days ago", "zh-CN": "{name}在 {gte}–{lte} 天前"},
    "days_gte": {"en": "{name} at least {gte} days ago", "zh-CN": "{name}在 {gte} 天前或更早"},
    "days_lte": {"en": "{name} within the last {lte} days", "zh-CN": "{name}在最近 {lte} 天内"},
}
