"""What a ``MAB`` knows, as JSON: the form to hand a fitted object to somebody else, since a pickle runs code.

    {"format": "equipoise-mabwiser", "version": 1, "arms": ["control", "coupon"], "features": null,
     "learned": {"kind": "counts", "learner": "ucb1", "parameters": {"alpha": 1.0},
                 "count": [900.0, 850.0], "total": [45.0, 60.0]}}

``kind`` is one of those of `allocation.bandits.mabwiser.state`: counts, ridges, clusters (with ``learners``) and trees
(with ``trees``). Numbers are written so that they are read back bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from allocation.bandits.mabwiser.state import Clusters, Counts, Ridges, State, Tree, Trees

FORMAT = "equipoise-mabwiser"
VERSION = 1
_INTEGERS = frozenset({"left", "right", "feature"})
_KINDS: Mapping[str, type] = {"counts": Counts, "ridges": Ridges, "clusters": Clusters, "trees": Trees}


def dumps(state: State) -> bytes:
    """Return the state as JSON.

    >>> state = State(("a", "b"), Counts("random", {}, np.zeros(2), np.zeros(2)))
    >>> loads(dumps(state)).arms
    ('a', 'b')
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "arms": list(state.arms),
        "features": None if state.features is None else list(state.features),
        "learned": _written(state.learned),
    }
    return msgspec.json.encode(document)


def loads(data: bytes) -> State:
    """Read what `dumps` wrote, or somebody by hand.

    Raises:
        ValueError: bytes that are no such document, naming what is wrong.

    >>> loads(b'{"format": "something"}')
    Traceback (most recent call last):
    ValueError: not a MAB as JSON: format must be "equipoise-mabwiser", not "something"
    """
    try:
        document = _ours(msgspec.json.decode(data))
        features = document.get("features")
        return State(
            tuple(_arm(arm) for arm in document["arms"]),
            _read(document["learned"]),
            None if features is None else tuple(str(name) for name in features),
        )
    except KeyError as missing:
        raise ValueError(f"not a MAB as JSON: {missing.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a MAB as JSON: {error}") from None


def _ours(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        got = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise ValueError(f'format must be "{FORMAT}", not "{got}"')
    if document.get("version") != VERSION:
        raise ValueError(f"version {document.get('version')} is unknown; this one reads {VERSION}")
    return document


def _arm(arm: Any) -> str | int | float:
    if isinstance(arm, bool) or not isinstance(arm, str | int | float):
        raise ValueError(f"an arm must be text or a number, not {arm!r}")  # noqa: TRY004 - a document's fault
    return arm


def _written(part: Any) -> Any:
    kind = next((name for name, known in _KINDS.items() if isinstance(part, known)), None)
    written: dict[str, Any] = {} if kind is None else {"kind": kind}
    for name, value in vars(part).items():
        if isinstance(value, np.ndarray):
            written[name] = value.tolist()
        elif isinstance(value, tuple):
            written[name] = [_written(item) for item in value]
        else:
            written[name] = dict(value) if isinstance(value, Mapping) else value
    return written


def _read(given: Any) -> Any:
    if not isinstance(given, dict) or given.get("kind") not in _KINDS:
        raise ValueError(f"learned needs a kind: {', '.join(_KINDS)}")
    fields = {name: value for name, value in given.items() if name != "kind"}
    if given["kind"] == "clusters":
        fields["learners"] = tuple(_read(item) for item in fields["learners"])
        if not all(isinstance(item, Counts | Ridges) for item in fields["learners"]):
            raise ValueError("learners of clusters must be counts or ridges")
    if given["kind"] == "trees":
        fields["trees"] = tuple(Tree(**_arrays(item)) for item in fields["trees"])
    return _KINDS[given["kind"]](**_arrays(fields))


def _arrays(fields: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, list):
            made[name] = np.array(value, np.intp if name in _INTEGERS else np.float64)
        elif name == "parameters":
            made[name] = {str(key): float(number) for key, number in value.items()}
        else:
            made[name] = value
    return made
