"""Definitions as YAML that ``apply`` takes, with the salts and phases the service made, so that assignments agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from experiments.definitions import Experiment
from experiments.definitions.catalogue import Catalogue, Name
from experiments.definitions.errors import nearest
from experiments.definitions.yaml_reader import looks_like_a_number
from experiments.keeping import contents
from experiments.keeping.heads import UnknownKeyError
from experiments.lifecycle import phases

if TYPE_CHECKING:
    from experiments.keeping.repository import Head, Repository

HEADER = "# Written by equipoise export. Put it into another database with: equipoise apply FILE\n"


class _Dumper(yaml.SafeDumper):
    """Writes text so that every YAML reader reads text."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists inside mappings."""
        del indentless
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # Text such as 1e5 is text to the library that writes and a number to our reader; odd line ends get lost unquoted.
    odd = not all(letter.isprintable() or letter == "\n" for letter in value)
    style = '"' if odd or looks_like_a_number(value) else "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(document: dict[str, Any]) -> str:
    """Return one document as YAML that our reader reads back the same.

    >>> print(to_yaml({"kind": "layer", "key": "1e5"}), end="")
    kind: layer
    key: "1e5"
    """
    text: str = yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)
    return text


def export(repository: Repository, names: Sequence[Name] | None = None) -> str:
    """Return YAML documents in the order in which they refer to each other.

    Raises:
        UnknownKeyError: for a name that is not defined.
    """
    heads = repository.heads()
    chosen = list(heads) if names is None else _with_references(heads, names)
    parts = [HEADER]
    for name in heads:
        if name in chosen:
            comment, document = _document(repository, name, heads[name])
            parts.append(f"---\n{comment}{to_yaml(document)}")
    return "".join(parts)


def _document(repository: Repository, name: Name, head: Head) -> tuple[str, dict[str, Any]]:
    document = contents.short(head.definition)
    if name[0] == "experiment":
        record = repository.experiment(name[1])
        made: dict[str, Any] = {"salt": record.salt}
        if record.phases:
            made["phases"] = [phases.to_document(phase) for phase in record.phases]
        return f"# {record.state}, revision {record.revision}\n", {**document, "made": made}
    if head.salt is not None:
        document["made"] = {"salt": head.salt}
    return "", document


def _with_references(heads: dict[Name, Head], names: Sequence[Name]) -> set[Name]:
    catalogue = Catalogue({name: head.definition for name, head in heads.items()})
    result: set[Name] = set()
    for name in names:
        if name not in heads:
            known = [key for kind, key in heads if kind == name[0]]
            raise UnknownKeyError(f'{name[0]} "{name[1]}" is not defined; {nearest(name[1], known)}')
        definition = heads[name].definition
        result.add(name)
        if isinstance(definition, Experiment):
            result.update(reference for reference in _references(catalogue, definition) if reference in heads)
    return result


def _references(catalogue: Catalogue, experiment: Experiment) -> Iterator[Name]:
    yield ("project", "project")
    if experiment.segment:
        yield ("segment", experiment.segment)
    if experiment.layer:
        yield ("layer", experiment.layer.key)
    for holdout in catalogue.holdouts_of(experiment):
        yield ("holdout", holdout.key)
    for key in catalogue.offers_of(experiment):
        yield ("offer", key)
    for key in experiment.metrics.keys():  # noqa: SIM118 - a method of the plan, not of a dictionary
        yield ("metric", key)
