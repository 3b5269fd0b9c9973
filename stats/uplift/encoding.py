"""Turns attributes as they come (numbers, text, gaps) into the columns of numbers that models of effects take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stats.uplift.trial import FloatArray

MOST_LEVELS = 20
"""Levels of one attribute that get a column of their own; the rest are pooled."""
LEAST_SHARE = 0.005
"""Share of the rows below which a level is pooled with the other rare ones: nothing can be learned of it alone."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the encoded features.

    Attributes:
        name: unique, readable: ``recency``, ``city=Rural``, ``city=(other)``, ``city=(missing)``.
        attribute: where it comes from.
        kind: a number; 1 for one level; 1 for the levels that have no column of their own; 1 where unknown.
        level: of kind ``level``.
    """

    name: str
    attribute: str
    kind: Literal["number", "level", "other", "missing"]
    level: str | None = None


@dataclass(frozen=True)
class Encoder:
    """Numbers stay numbers (NaN: unknown); text becomes a column of 0 and 1 for each level that is not rare.

    An attribute that never varies gets no column. What was unknown for some of the rows is a level of its own; a level
    that was never seen counts as one of the rare ones.

    >>> encoder = Encoder.fit({"age": np.array([30.0, np.nan]), "city": np.array(["a", "b"], dtype=object)})
    >>> encoder.names, encoder.attribute_of
    (('age', 'city=a', 'city=b'), ('age', 'city', 'city'))
    >>> encoder.transform({"age": np.array([25.0]), "city": np.array(["b"], dtype=object)})
    array([[25.,  0.,  1.]])
    """

    columns: tuple[Column, ...]

    @classmethod
    def fit(
        cls,
        columns: Mapping[str, NDArray[Any]],
        *,
        most_levels: int = MOST_LEVELS,
        least_share: float = LEAST_SHARE,
    ) -> Encoder:
        """Learn which columns there are to be.

        Args:
            columns: attribute → (n,): numbers (NaN where unknown), booleans, or text (``None`` where unknown).
            most_levels: of one attribute with a column of their own, the most frequent first.
            least_share: of the rows that such a level must have.

        Raises:
            ValueError: attributes differ in length.
        """
        if len({len(values) for values in columns.values()}) > 1:
            raise ValueError("every attribute must have the same number of rows")
        found: list[Column] = []
        for attribute, values in columns.items():
            if _numeric(values):
                if _varies(np.asarray(values, dtype=np.float64)):
                    found.append(Column(attribute, attribute, "number"))
            else:
                found.extend(_levels(attribute, as_levels(values), most_levels, least_share))
        return cls(tuple(found))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def attribute_of(self) -> tuple[str, ...]:
        """Which attribute each column comes from."""
        return tuple(column.attribute for column in self.columns)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that have columns, each once."""
        return tuple(dict.fromkeys(self.attribute_of))

    def transform(self, columns: Mapping[str, NDArray[Any]]) -> FloatArray:
        """Return the columns of these rows, (n, d).

        Args:
            columns: attribute → (n,), as in `fit`; those that have no column are not looked at.

        Raises:
            ValueError: an attribute is missing, or is text where it was numbers.
        """
        if missing := [name for name in self.attributes if name not in columns]:
            raise ValueError(f"attributes are missing: {', '.join(missing)}")
        rows = len(next(iter(columns.values()))) if columns else 0
        out = np.zeros((rows, len(self.columns)))
        for attribute in self.attributes:
            places = [place for place, column in enumerate(self.columns) if column.attribute == attribute]
            values = columns[attribute]
            if self.columns[places[0]].kind == "number":
                if not _numeric(values):
                    raise ValueError(f"{attribute} must be numbers, as it was where the model was fitted")
                out[:, places[0]] = np.asarray(values, dtype=np.float64)
            else:
                self._fill(out, places, as_levels(values))
        return out

    def _fill(self, out: FloatArray, places: list[int], values: NDArray[Any]) -> None:
        """Set the columns of one attribute of levels."""
        missing = values == None  # noqa: E711  (element by element)
        rest = ~missing
        by_kind = {self.columns[place].kind: place for place in places if self.columns[place].kind != "level"}
        for place in places:
            if self.columns[place].kind == "level":
                has = values == self.columns[place].level
                out[has, place] = 1.0
                rest &= ~has
        for kind, rows in (("missing", missing), ("other", rest)):
            if kind in by_kind:
                out[rows, by_kind[kind]] = 1.0


def as_levels(values: NDArray[Any]) -> NDArray[Any]:
    """Return text as it is, and anything else that is not a number as text; ``None`` where unknown.

    >>> as_levels(np.array([True, False])).tolist()
    ['true', 'false']
    """
    if values.dtype.kind == "b":
        return np.where(values, "true", "false").astype(object)
    if values.dtype.kind in "fiu":
        numbers = np.asarray(values, dtype=np.float64)
        return np.array([None if np.isnan(number) else f"{number:g}" for number in numbers], dtype=object)
    return np.array([_text(value) for value in values], dtype=object)


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return str(value).lower() if isinstance(value, (bool, np.bool_)) else str(value)


def _numeric(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "fiu"


def _varies(values: FloatArray) -> bool:
    known = values[~np.isnan(values)]
    return known.size > 0 and (known.size < values.size or float(known.min()) != float(known.max()))


def _levels(attribute: str, values: NDArray[Any], most: int, least_share: float) -> list[Column]:
    """Return the columns of an attribute of levels, most frequent first, ties by name."""
    known = values[values != None]  # noqa: E711  (element by element)
    names, counts = np.unique(known.astype(str), return_counts=True)
    order = sorted(range(len(names)), key=lambda place: (-counts[place], names[place]))
    kept = [place for place in order if counts[place] >= max(2, least_share * len(values))][:most]
    if len(values) < 2 / max(least_share, 1e-9):  # of few rows a share says nothing
        kept = order[:most]
    columns = [Column(f"{attribute}={names[place]}", attribute, "level", str(names[place])) for place in kept]
    if len(kept) < len(names):
        columns.append(Column(f"{attribute}=(other)", attribute, "other"))
    if len(known) < len(values):
        columns.append(Column(f"{attribute}=(missing)", attribute, "missing"))
    return columns if len(columns) > 1 else []
