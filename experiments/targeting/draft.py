"""The experiment that tests a recommendation: control, the best single offer for everybody, and each member's own.

Nothing is believed because a model says so: what was learned on one campaign is tried on the next one, beside what
would be done without it. Where there was no evidence that members differ, there is nothing of their own to try.
"""

from __future__ import annotations

import math
from typing import Any

from experiments.definitions import Experiment, Offer, Project
from experiments.definitions.loader import load_values
from experiments.errors import InputError
from experiments.keeping import contents
from experiments.keeping.repository import Repository
from experiments.targeting.document import Audience
from experiments.uplift.document import Arm, Recommendation, Text

ATTRIBUTE = "recommended_offer"
"""Attribute, and column of audience files, that holds the key of the offer that was chosen for a member."""
LABEL: Text = {"en": "Recommended offer", "zh-CN": "推荐优惠"}
POLICY = "policy"
POWER = 0.8
_OWN_NAME = (": each member's own offer", "：一人一策验证")
_SINGLE_NAME = (": one offer for all", "：单一优惠验证")
_PERSONAL = {
    "hypothesis": {
        "en": "Choosing each member's offer as recommended earns more than the best single offer for everybody.",
        "zh-CN": "按推荐为每位会员选择优惠，收益高于向所有人发放最佳单一优惠。",
    }
}
_SINGLE = {
    "hypothesis": {
        "en": "Giving everybody the best single offer earns more than giving nothing.",
        "zh-CN": "向所有人发放最佳单一优惠，收益高于不发。",
    }
}


def create(
    repository: Repository, found: Recommendation, key: str, actor: str, *, audience: Audience | None = None
) -> Experiment:
    """Create the draft of an experiment that tests a recommendation; the project gets `ATTRIBUTE` if it has none.

    Args:
        repository: where definitions are.
        found: the recommendation, of an experiment.
        key: of the experiment to be; it must be free.
        actor: who does it, for the audit.
        audience: the list that it is to be tried on, for its size; by default it is planned by what was recommended.

    Raises:
        InputError: there is nothing to test, or the key is taken.
        DefinitionError: the key cannot be one.
    """
    source = _source(repository, found)
    if repository.catalogue().get(Experiment, "experiment", key) is not None:
        raise InputError(f'experiment "{key}" is there already; choose another key')
    project = repository.project()
    documents = [_document(source, found, key, audience)]
    declared = project.attributes.get(ATTRIBUTE)
    if not found.evidence:
        pass  # there is one choice for all, and no policy that needs it
    elif declared is None:
        documents.insert(0, _with_attribute(project, repository))
    elif declared.type != "string":
        raise InputError(
            f"the project's attribute {ATTRIBUTE} is a {declared.type}; offers are told by text: declare it as a string"
        )
    repository.apply(load_values(documents), actor, expected={("experiment", key): 0})
    return repository.experiment(key).definition


def _source(repository: Repository, found: Recommendation) -> Experiment:
    if found.experiment is None:
        raise InputError(
            "the recommendation is of a file, so nothing says which offers and metrics a test of it would have; "
            "write the experiment by hand (docs/target.md has one)"
        )
    if not found.causal:
        raise InputError(f"the data of {found.experiment} bear no recommendation, so there is nothing to test")
    source = repository.experiment(found.experiment).definition
    if not any(variant.offer for variant in source.variants):
        raise InputError(f"no variant of {source.key} gives an offer that is defined, so there is none to choose from")
    return source


def _document(source: Experiment, found: Recommendation, key: str, audience: Audience | None) -> dict[str, Any]:
    """Return the draft as people would write it."""
    short = contents.short(source)
    best = best_single(found)
    channels = {variant.channel for variant in source.variants if variant.offer is not None}
    own: dict[str, Any] = {
        "key": _free(source), "name": {"en": "Each member's own", "zh-CN": "一人一策"}, "offer_by": ATTRIBUTE,
    }  # fmt: skip
    variants: list[dict[str, Any]] = [{"key": source.control, "name": source.variant(source.control).name}]
    if best is not None and (given := source.variant(best.key)).offer is not None:
        variants.append({"key": given.key, "name": given.name, "offer": given.offer, "channel": given.channel})
        own["channel"] = given.channel
    elif len(channels) == 1:
        own["channel"] = next(iter(channels))
    if found.evidence:
        variants.append(own)
    elif len(variants) < 2:
        raise InputError(f"the recommendation of {source.key} is to give nobody anything: there is nothing to test")
    kept = ("owner", "unit_type", "segment", "audience", "layer", "holdouts", "metrics", "alpha", "breakdowns")
    planned = planned_units(source, found, audience, len(variants))
    return {
        "kind": "experiment",
        "key": key,
        **(_PERSONAL if found.evidence else _SINGLE),
        "name": _with(source.name, *(_OWN_NAME if found.evidence else _SINGLE_NAME)),
        "description": _described(found, audience),
        **{name: short[name] for name in kept if name in short},
        "enrolment": "once",
        "sticky": "enrolment",  # a list that is split evenly needs it: nobody is drawn again
        "variants": [{name: value for name, value in each.items() if value is not None} for each in variants],
        "control": source.control,
        **({"analysis": {"strata": [ATTRIBUTE]}} if found.evidence else {}),
        **({} if planned is None else {"planned_units": planned}),
    }


def best_single(found: Recommendation) -> Arm | None:
    """Return the arm that earns most if everybody gets it; ``None`` where that is control."""
    paying = [arm for arm in found.arms[1:] if arm.profit is not None and (arm.profit.estimate or 0.0) > 0]
    return max(paying, key=lambda arm: arm.profit.estimate or 0.0 if arm.profit else 0.0, default=None)


def planned_units(source: Experiment, found: Recommendation, audience: Audience | None, variants: int) -> int | None:
    """Return how many units find what the recommendation is expected to add, against control, with 80 % power.

    The effect is that of the audience where there is one, else that of the best single offer; baseline and spread are
    those of the experiment that was learned from.

    Returns:
        Units in all variants together; ``None`` where nothing is expected, or the metric is none of the experiment's.
    """
    from stats.power import Means, level, sample_size

    control, best = found.arms[0], best_single(found)
    effect = None if best is None or best.effect is None else best.effect.estimate
    if found.evidence and audience is not None and audience.predicted_outcome is not None:
        effect = audience.predicted_outcome
    spread = _spread(found)
    if found.outcome not in source.metrics.primary or control.mean is None or not effect or spread is None:
        return None
    alpha = level(source.alpha, variants - 1, len(source.metrics.primary), "holm")
    each = float(sample_size(Means(spread, freedom="normal"), effect, POWER, alpha))
    return None if not math.isfinite(each) else math.ceil(each) * variants


def _spread(found: Recommendation) -> float | None:
    """Return the standard deviation of one unit's outcome, from how wide the effects' intervals are."""
    from scipy.special import ndtri

    control, width = found.arms[0], float(ndtri(1 - found.alpha / 2))
    for arm in found.arms[1:]:
        if arm.effect is None or arm.effect.ci_low is None or arm.effect.ci_high is None:
            continue
        error = (arm.effect.ci_high - arm.effect.ci_low) / (2 * width)
        if error > 0 and arm.n and control.n:
            return error / math.sqrt(1 / arm.n + 1 / control.n)
    return None


def _free(source: Experiment) -> str:
    """Return a key for the variant under test that no other variant has."""
    taken, key = source.split(), POLICY
    while key in taken:
        key += "-own"
    return key


def _with(name: Text, english: str, chinese: str) -> Text:
    return {language: text + (chinese if language.startswith("zh") else english) for language, text in name.items()}


def _described(found: Recommendation, audience: Audience | None) -> Text:
    lines = {"en": f"Tests the recommendation of {found.experiment}.", "zh-CN": f"检验 {found.experiment} 的推荐。"}
    for language, sentence in found.sentence.items():
        lines[language] = f"{lines.get(language, '')} {sentence}".strip()
    if not found.evidence:
        return lines
    if audience is not None:
        lines["en"] += f" Its list is audience {audience.id}, assigned with balance_on {ATTRIBUTE}."
        lines["zh-CN"] += f" 名单为人群包 {audience.id}，分组时使用 balance_on {ATTRIBUTE}。"
    else:
        lines["en"] += f" Assign its list with balance_on {ATTRIBUTE}."
        lines["zh-CN"] += f" 分组时使用 balance_on {ATTRIBUTE}。"
    return lines


def _with_attribute(project: Project, repository: Repository) -> dict[str, Any]:
    """Return the project with the attribute that says which offer is whose."""
    document = dict(contents.short(project))
    catalogue = repository.catalogue()
    offers = {key: offer.name for key in catalogue.keys("offer") if (offer := catalogue.get(Offer, "offer", key))}
    declared: dict[str, Any] = {"type": "string", "label": LABEL, "levels": offers}
    return {**document, "attributes": {**document.get("attributes", {}), ATTRIBUTE: declared}}
