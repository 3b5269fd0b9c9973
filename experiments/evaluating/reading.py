"""A CSV or Parquet file of logged decisions: our own columns, or those of the Open Bandit Dataset.

Ours: ``variant``, ``propensity``, ``reward`` and, where there is one, ``unit``, under these names or others. Who
was eligible comes from ``policy`` (the JSON of an exported decision) or from columns ``p:VARIANT``. Features are the
columns that are named, the members of ``frozen`` (JSON, exported too), or else all other columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.errors import InputError
from experiments.evaluating.decision_log import DecisionLog
from experiments.sources.columns import read_columns
from experiments.sources.file import ROW, FileTable, open_file

OPEN_BANDIT = ("item_id", "position", "click", "propensity_score")
PROBABILITY = "p:"
LARGEST = 1e15
"""Rewards beyond this, infinity among them, are mistakes."""
NOT_FEATURES = frozenset(
    {
        "decision_id", "experiment", "revision", "phase", "unit_type", "unit", "occasion", "kind", "variant", "reason",
        "propensity", "reward", "at", "timestamp", "frozen", "holdout", "snapshot", "source", "send_at", "policy",
    }
)  # fmt: skip
"""Columns that say how a decision came about, not who it was about."""


@dataclass(frozen=True)
class LogColumns:
    """Which columns of a file hold what; ``None`` is the usual name, where it is there."""

    variant: str | None = None
    propensity: str | None = None
    reward: str | None = None
    unit: str | None = None
    features: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    """Features whose numbers are names."""
    encoding: str | None = None


def read_log(path: str | Path, columns: LogColumns | None = None) -> DecisionLog:
    """Read a log of decisions.

    Args:
        path: a CSV (plain or gzip) or Parquet file.
        columns: which columns hold what.

    Raises:
        InputError: when the file or a value in it cannot be used, with the row.
    """
    asked = columns or LogColumns()
    with open_file(path, encoding=asked.encoding) as file:
        if asked.variant is None and set(OPEN_BANDIT) <= set(file.header):
            return _open_bandit(file, asked)
        return _decisions(file, asked)


def _decisions(file: FileTable, asked: LogColumns) -> DecisionLog:
    named = {
        "variant": file.require(asked.variant or "variant"),
        "propensity": file.require(asked.propensity or "propensity"),
        "reward": file.require(asked.reward or "reward"),
    }
    unit = file.require(asked.unit) if asked.unit else "unit" if "unit" in file.columns else None
    shares = [name for name in file.columns if name.startswith(PROBABILITY)]
    chosen = [file.require(name) for name in (*asked.features, *asked.categorical)]
    frozen = "frozen" in file.columns and not chosen
    if not chosen and not frozen:
        taken = {*named.values(), unit, *shares, *NOT_FEATURES}
        chosen = [name for name in file.columns if name not in taken]
    texts = {"variant": named["variant"], **({"unit": unit} if unit else {})}
    said = [name for name in ("kind", "policy") if name in file.columns and name not in named.values()]
    texts |= {name: name for name in (*said, *(("frozen",) if frozen else ()))}
    texts |= {f"feature:{name}": name for name in chosen}
    found = _fetched(file, texts, (named["reward"], named["propensity"], *shares))
    reward, propensity = found[named["reward"]], found[named["propensity"]]
    drawn = found["variant"]
    n = reward.size
    out: dict[str, npt.NDArray[np.bool_]] = {}
    out["not enrolled"] = np.zeros(n, np.bool_) if "kind" not in found else found["kind"] != "enrolled"
    out["no variant"] = _absent(drawn)
    out["no reward yet"] = np.isnan(reward)
    keep = np.ones(n, np.bool_)
    left_out = {}
    for why, rows in out.items():
        if count := int((rows & keep).sum()):
            left_out[why] = count
        keep &= ~rows
    _need_rows(file, keep)
    _need_propensities(file, propensity, keep, named["propensity"])
    _need_sizes(file, reward, named["reward"])
    policies = _parsed(file, found["policy"], keep, "policy") if "policy" in found else None
    _need_lists(file, policies, keep)
    probabilities = {name.removeprefix(PROBABILITY): found[name][keep] for name in shares}
    keys = set(drawn[keep].tolist()) | set(probabilities)
    for policy in policies or ():
        keys.update(policy.get("eligible", ()) if policy else ())
    variants = tuple(sorted(keys))
    index = {key: place for place, key in enumerate(variants)}
    codes = np.fromiter((index[key] for key in drawn[keep].tolist()), np.intp)
    eligible = _eligible(policies, probabilities, variants, index)
    if eligible is not None and not eligible[np.arange(codes.size), codes].all():
        row = int(np.flatnonzero(keep)[np.argmin(eligible[np.arange(codes.size), codes])])
        raise InputError(f"{file.path}: row {row + 1}: its variant is not among those that were eligible")
    if frozen:
        features = _members(_parsed(file, found["frozen"], keep, "frozen"), asked.categorical)
    else:
        features = {name: _typed(found[f"feature:{name}"][keep], name in asked.categorical) for name in chosen}
    return DecisionLog(
        path=file.path,
        format="decisions",
        variants=variants,
        variant=codes,
        reward=reward[keep],
        propensity=propensity[keep],
        eligible=eligible,
        unit=_codes(found["unit"][keep]) if unit else None,
        features=features,
        left_out=left_out,
    )


def _open_bandit(file: FileTable, asked: LogColumns) -> DecisionLog:
    """Read a log of the Open Bandit Dataset: item, click, propensity, position, and the hashed features of the user.

    The affinities of users and items are nearly all 0 and are left out.
    """
    features = [name for name in file.columns if name.startswith("user_feature_")]
    if asked.features or asked.categorical:
        features = [file.require(name) for name in (*asked.features, *asked.categorical)]
    texts = {"item": "item_id", "position": "position", **{f"feature:{name}": name for name in features}}
    unit = file.require(asked.unit) if asked.unit else None
    if unit:
        texts["unit"] = unit
    reward_name, chance_name = asked.reward or "click", asked.propensity or "propensity_score"
    reward_name, chance_name = file.require(reward_name), file.require(chance_name)
    found = _fetched(file, texts, (reward_name, chance_name))
    reward, propensity = found[reward_name], found[chance_name]
    keep = ~np.isnan(reward) & ~_absent(found["item"])
    _need_rows(file, keep)
    _need_propensities(file, propensity, keep, chance_name)
    _need_sizes(file, reward, reward_name)
    items = found["item"][keep].tolist()
    variants = tuple(sorted(set(items), key=_natural))
    index = {key: place for place, key in enumerate(variants)}
    return DecisionLog(
        path=file.path,
        format="open_bandit",
        variants=variants,
        variant=np.fromiter((index[item] for item in items), np.intp),
        reward=reward[keep],
        propensity=propensity[keep],
        unit=_codes(found["unit"][keep]) if unit else None,
        position=_codes(found["position"][keep]),
        features={
            **{name: found[f"feature:{name}"][keep] for name in features},
            "position": found["position"][keep],
        },
        left_out={} if keep.all() else {"no reward yet": int((~keep).sum())},
    )


def _natural(text: str) -> tuple[int, float, str]:
    """Order numbers by size, and texts after them."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _fetched(file: FileTable, texts: Mapping[str, str], numbers: Sequence[str]) -> dict[str, Any]:
    """Return columns in the file's order: numbers as doubles with NaN for missing, texts with ``None``."""
    table = read_columns(file, texts, tuple(dict.fromkeys(numbers)), materialise=False)
    connection = table.get_backend()
    read = connection.raw_sql(connection.compile(table.order_by(ROW))).fetchnumpy()
    out: dict[str, Any] = {}
    for name, values in read.items():
        column = np.ma.asarray(values)
        if name in texts:
            plain = np.ma.getdata(column).astype(object)
            plain[np.ma.getmaskarray(column)] = None
            out[name] = plain
        else:
            out[name] = np.ma.filled(column.astype(np.float64), np.nan)
    return out


def _need_sizes(file: FileTable, reward: npt.NDArray[np.float64], name: str) -> None:
    wrong = np.abs(reward) > LARGEST
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"{file.path}: row {row + 1}, column {name!r} is {reward[row]:g}: no reward is that large")


def _absent(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.fromiter((value is None for value in values.tolist()), np.bool_, values.size)


def _need_rows(file: FileTable, keep: npt.NDArray[np.bool_]) -> None:
    if not keep.any():
        raise InputError(f"{file.path}: no decision has a variant and a reward")


def _need_propensities(
    file: FileTable, propensity: npt.NDArray[np.float64], keep: npt.NDArray[np.bool_], name: str
) -> None:
    wrong = keep & ~((propensity > 0) & (propensity <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        shown = "missing" if np.isnan(propensity[row]) else f"{propensity[row]:g}"
        raise InputError(
            f"{file.path}: row {row + 1}, column {name!r} is {shown}: the probability with which the variant was drawn "
            "is needed, above 0 and at most 1; without it a decision says nothing about other policies"
        )


def _parsed(
    file: FileTable, texts: npt.NDArray[Any], keep: npt.NDArray[np.bool_], name: str
) -> list[dict[str, Any] | None]:
    documents: list[dict[str, Any] | None] = []
    for row in np.flatnonzero(keep).tolist():
        text = texts[row]
        try:
            document = None if text is None else json.loads(text)
        except ValueError:
            raise InputError(f"{file.path}: row {row + 1}, column {name!r} is not JSON") from None
        if document is not None and not isinstance(document, dict):
            raise InputError(f"{file.path}: row {row + 1}, column {name!r} is not a JSON object")
        documents.append(document)
    return documents


def _need_lists(file: FileTable, policies: list[dict[str, Any] | None] | None, keep: npt.NDArray[np.bool_]) -> None:
    for place, policy in enumerate(policies or ()):
        eligible = (policy or {}).get("eligible", [])
        if not isinstance(eligible, list) or not all(isinstance(key, str) for key in eligible):
            row = int(np.flatnonzero(keep)[place])
            raise InputError(f"{file.path}: row {row + 1}, column 'policy': 'eligible' is not a list of variants")


def _eligible(
    policies: list[dict[str, Any] | None] | None,
    probabilities: Mapping[str, npt.NDArray[np.float64]],
    variants: tuple[str, ...],
    index: Mapping[str, int],
) -> npt.NDArray[np.bool_] | None:
    if policies is not None and any(policies):
        eligible = np.ones((len(policies), len(variants)), np.bool_)
        for row, policy in enumerate(policies):
            if policy and policy.get("eligible"):
                eligible[row] = False
                eligible[row, [index[key] for key in policy["eligible"]]] = True
        return eligible
    if probabilities:
        none = np.zeros(len(next(iter(probabilities.values()))))
        return np.column_stack([np.nan_to_num(probabilities.get(key, none)) > 0 for key in variants])
    return None


def _members(documents: list[dict[str, Any] | None], categorical: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    names = sorted({name for document in documents if document for name in document})
    out = {}
    for name in names:
        values = np.empty(len(documents), dtype=object)
        values[:] = [None if document is None else document.get(name) for document in documents]
        out[name] = _typed(values, name in categorical)
    return out


def _typed(values: npt.NDArray[Any], categorical: bool) -> npt.NDArray[Any]:
    """Return floats with NaN where everything that is there is a number, else the values as they are."""
    if categorical:
        return values
    there = [value for value in values.tolist() if value is not None]
    if not there or any(isinstance(value, bool | list | dict) for value in there):
        return values
    try:
        return np.array([np.nan if value is None else float(value) for value in values.tolist()])
    except (TypeError, ValueError):
        return values


def _codes(values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return texts as codes from 0; each missing one is a code of its own."""
    given = {text: code for code, text in enumerate(sorted({text for text in values.tolist() if text is not None}))}
    missing = iter(range(len(given), len(given) + values.size))
    return np.fromiter((next(missing) if text is None else given[text] for text in values.tolist()), np.intp)
