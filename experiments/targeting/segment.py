"""A recommendation's short rule as a segment: a group that experiments, lists and reports can name."""

from __future__ import annotations

from experiments.definitions import Segment
from experiments.definitions.loader import load_values
from experiments.errors import InputError
from experiments.keeping.repository import Repository
from experiments.uplift.document import Recommendation, Text


def save(repository: Repository, found: Recommendation, key: str, actor: str, *, name: Text | None = None) -> Segment:
    """Save the group that a recommendation's rule describes as a segment.

    Args:
        repository: where definitions are.
        found: the recommendation.
        key: of the segment to be; one that is there already with the same rule is left as it is.
        actor: who does it, for the audit.
        name: for people; by default after the experiment.

    Raises:
        InputError: the recommendation has no rule, or the key is that of another segment.
        DefinitionError: the key cannot be one, or the rule reads an attribute that is not declared.
    """
    if found.rule is None:
        raise InputError(
            "the recommendation has no short rule that describes who should get an offer: it advises the same for "
            "everybody, or what tells members apart is no attribute; make an audience file instead"
        )
    known = repository.catalogue().get(Segment, "segment", key)
    if known is not None and known.rule == found.rule:
        return known
    if known is not None:
        raise InputError(f'segment "{key}" is there already, with another rule; choose another key')
    shown = name or _named(found.title)
    (loaded,) = load_values([{"kind": "segment", "key": key, "name": shown, "rule": found.rule}])
    repository.apply([loaded], actor, expected={("segment", key): 0})
    return Segment(kind="segment", key=key, name=shown, rule=found.rule)


def _named(title: Text) -> Text:
    """Return what the group of a recommendation is called, in the languages of its title.

    >>> _named({"en": "Win-back", "zh-CN": "唤回"})
    {'en': 'Win-back: who should get it', 'zh-CN': '唤回：目标人群'}
    """
    endings = {"zh-CN": "：目标人群"}
    return {language: text + endings.get(language, ": who should get it") for language, text in title.items()}
