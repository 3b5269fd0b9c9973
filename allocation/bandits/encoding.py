"""From a member's attributes to numbers: the encoding that a version of a policy fixes once.

Three forms of the same thing. *Values* ``x`` are what a decision logs: for each feature a standardised number or the
index of a level. *Encoded* holds the same of many members as two arrays. The *design* is what a linear model is
multiplied with: intercept, values, indicators of missing values, one column for each level, and the declared pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from allocation.bandits.values import number_of, text_of

MISSING = 0
"""Level of a categorical value that is not there."""
RARE = 1
"""Level of every value that has none of its own: those too rare to learn from, and those never seen."""
PAIR_LEVELS = 50
"""A pair tells so many of each feature's levels apart, the first ones; the others are `RARE` in it."""
_STEPS = 1e6  # values are rounded to six decimals: short in the log, and read back as the very same number

Value = float | int | None


class FeatureCode(msgspec.Struct, frozen=True):
    """How one attribute becomes a number.

    >>> spend = FeatureCode("spend", "numeric", transform="log", centre=4.0, scale=2.0)
    >>> spend.value(100), spend.value(None), spend.value(float("nan"))
    (0.30756, None, None)
    >>> stage = FeatureCode("stage", "categorical", levels=("new", "loyal"))
    >>> [stage.value(text) for text in ("new", "loyal", "other", None)]
    [2, 3, 1, 0]
    """

    attribute: str
    kind: Literal["numeric", "categorical"]
    transform: Literal["none", "log"] = "none"
    """numeric: ``log`` takes sign(v)·log(1 + |v|) first."""
    centre: float = 0.0
    scale: float = 1.0
    """numeric: the value is (v − centre) / scale …"""
    low: float = -6.0
    high: float = 6.0
    """… clipped to these, so that one absurd value cannot outweigh everything."""
    levels: tuple[str, ...] = ()
    """categorical: texts of level 2, 3, …, the most frequent first."""

    def value(self, raw: object) -> Value:
        """Return what a value is encoded as: a number or ``None`` (missing), or a level."""
        return self._number(raw) if self.kind == "numeric" else self._level(raw)

    def _number(self, raw: object) -> float | None:
        number = number_of(raw)
        if number is None:
            return None
        if self.transform == "log":
            number = math.copysign(math.log1p(abs(number)), number)
        standard = (number - self.centre) / self.scale
        return round(min(max(standard, self.low), self.high) * _STEPS) / _STEPS

    def _level(self, raw: object) -> int:
        text = text_of(raw)
        if text is None:
            return MISSING
        try:
            return self.levels.index(text) + 2
        except ValueError:
            return RARE


class Encoder(msgspec.Struct, frozen=True, dict=True):
    """How a member's attributes become the input of one version of a policy.

    >>> encoder = Encoder((FeatureCode("age", "numeric", centre=40.0, scale=10.0),
    ...                    FeatureCode("stage", "categorical", levels=("new",))), pairs=((0, 1),))
    >>> x = encoder.encode({"age": 45, "stage": "new"})
    >>> x
    [0.5, 2]
    >>> [(encoder.columns[column].name, value) for column, value in encoder.row(x)]
    [('1', 1.0), ('age', 0.5), ('stage=new', 1.0), ('age × stage=new', 0.5)]
    """

    features: tuple[FeatureCode, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    """Indices of two features whose joint effect has columns of its own."""

    def encode(self, attributes: Mapping[str, Any]) -> list[Value]:
        """Return the values of one member, in the features' order; attributes that are not there are missing."""
        get = attributes.get
        x: list[Value] = []
        add = x.append
        for name, levels, plain, centre, scale, low, high, code in self._readers:
            raw = get(name)
            if levels is not None:
                if raw.__class__ is str:
                    add(levels.get(raw, RARE))
                else:
                    add(_level(levels, raw))
            elif plain and raw.__class__ is float and low <= (standard := (raw - centre) / scale) <= high:
                # The way of most numbers, without the checks of `number_of`, which take longer than the arithmetic.
                add(round(standard * _STEPS) / _STEPS)
            else:
                add(code.value(raw))
        return x

    def encode_columns(self, columns: Mapping[str, Sequence[Any] | NDArray[Any]], n: int) -> Encoded:
        """Encode ``n`` members whose attributes come as columns; the values are those of `encode`, bit for bit.

        Raises:
            ValueError: a column that does not have ``n`` values.
        """
        numeric: list[NDArray[np.float64]] = []
        levels: list[NDArray[np.int32]] = []
        for code in self.features:
            column = columns.get(code.attribute)
            if column is not None and len(column) != n:
                raise ValueError(f'column "{code.attribute}" has {len(column)} values for {n} rows')
            if code.kind == "numeric":
                numeric.append(np.full(n, np.nan) if column is None else _numbers(code, column))
            else:
                levels.append(np.zeros(n, np.int32) if column is None else _levels(code, column))
        return Encoded(
            np.column_stack(numeric) if numeric else np.empty((n, 0)),
            np.column_stack(levels) if levels else np.empty((n, 0), np.int32),
        )

    def encoded(self, rows: Sequence[Sequence[Value]]) -> Encoded:
        """Return logged values ``x``, a list for each member, as arrays."""
        numeric = [index for index, code in enumerate(self.features) if code.kind == "numeric"]
        other = [index for index, code in enumerate(self.features) if code.kind != "numeric"]
        return Encoded(
            np.array([[row[i] for i in numeric] for row in rows], np.float64).reshape(len(rows), len(numeric)),
            np.array([[row[i] for i in other] for row in rows], np.int32).reshape(len(rows), len(other)),
        )

    @cached_property
    def layout(self) -> Layout:
        """Where each feature and pair has its columns."""
        return _layout(self)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Name and group of each column of the design, in order."""
        return self.layout.columns

    def design(self, encoded: Encoded) -> NDArray[np.float64]:
        """Return the design matrix, shape (n, P)."""
        design = np.zeros((len(encoded.numeric), len(self.columns)))
        design[:, 0] = 1.0
        rows = np.arange(len(design))
        for block in self.layout.blocks:
            index, value = block.entries(encoded)
            if value is None:
                design[rows, index] = 1.0
            else:
                design[rows, index] = value
        return design

    def row(self, x: Sequence[Value]) -> list[tuple[int, float]]:
        """Return the non-zero columns of one member's design row, as (column, value) with ascending columns."""
        columns, values = self.sparse(x)
        return [(column, value) for column, value in zip(columns, values, strict=True) if value]

    def sparse(self, x: Sequence[Value]) -> tuple[list[int], list[float]]:
        """Return the columns of one member's design row that may be non-zero, and their values."""
        if self._plain is not None and None not in x:
            return self._plain, [1.0, *x]  # type: ignore[list-item]
        columns, values = [0], [1.0]
        for got, (start, size) in zip(x, self._starts, strict=True):
            if not size:
                columns.append(start + 1 if got is None else start)
                values.append(1.0 if got is None else got)
            else:
                level = int(got or MISSING)
                columns.append(start + (level if level < size else RARE))
                values.append(1.0)
        for block in self.layout.blocks[self._singles :]:
            column, value = block.entry(x)
            columns.append(column)
            values.append(value)
        return columns, values

    @cached_property
    def _starts(self) -> tuple[tuple[int, int], ...]:
        """Of each feature its first column and, where it has levels, how many."""
        own = [block for block in self.layout.blocks if block.second is None and block.first.kind != "missing"]
        return tuple((block.start, block.first.size if block.first.kind == "level" else 0) for block in own)

    @cached_property
    def _plain(self) -> list[int] | None:
        """The columns of everybody of whom everything is known, where that is always the same ones."""
        if self.pairs or any(size for _, size in self._starts):
            return None
        return [0, *(start for start, _ in self._starts)]

    @cached_property
    def _singles(self) -> int:
        """How many blocks come before those of the pairs."""
        return len(self.layout.blocks) - len(self.pairs)

    @cached_property
    def _readers(self) -> tuple[tuple[str, dict[str, int] | None, bool, float, float, float, float, FeatureCode], ...]:
        return tuple(
            (
                code.attribute,
                _index(code) if code.kind == "categorical" else None,
                code.transform == "none",
                code.centre,
                code.scale,
                code.low,
                code.high,
                code,
            )
            for code in self.features
        )


class Encoded(msgspec.Struct, frozen=True):
    """The values of n members."""

    numeric: NDArray[np.float64]
    """Shape (n, numeric features), NaN where missing."""
    levels: NDArray[np.int32]
    """Shape (n, categorical features)."""

    def take(self, rows: NDArray[Any] | slice) -> Encoded:
        """Return some of the members."""
        return Encoded(self.numeric[rows], self.levels[rows])


class Column(msgspec.Struct, frozen=True):
    """One column of the design."""

    name: str
    group: str
    """``intercept``, ``numeric``, ``missing``, ``levels:ATTRIBUTE`` or ``pair:A×B``: columns of a group are alike."""


class Layout(msgspec.Struct, frozen=True):
    """The columns of a design, and the blocks that fill them. Of each block at most one column is not zero."""

    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Part:
    """One feature's share in a block: its value, whether it is missing, or its level."""

    kind: Literal["value", "missing", "level"]
    feature: int
    """Its index among all features."""
    place: int
    """Its index among those of its kind, which is its column in `Encoded`."""
    size: int
    """Levels told apart; 1 for a value."""

    def of(self, encoded: Encoded) -> tuple[NDArray[np.intp] | int, NDArray[np.float64] | None]:
        """Return (level, value) of many members; value ``None`` stands for 1."""
        if self.kind == "level":
            levels = encoded.levels[:, self.place].astype(np.intp)
            return np.where(levels < self.size, levels, RARE), None
        number = encoded.numeric[:, self.place]
        missing = np.isnan(number)
        return 0, missing.astype(np.float64) if self.kind == "missing" else np.where(missing, 0.0, number)


@dataclass(frozen=True)
class Block:
    """Columns of one feature, or of a pair, from ``start`` on."""

    start: int
    first: Part
    second: Part | None = None

    def entries(self, encoded: Encoded) -> tuple[NDArray[np.intp] | int, NDArray[np.float64] | None]:
        """Return each member's (column, value) in this block; a value ``None`` stands for 1 everywhere."""
        level, value = self.first.of(encoded)
        if self.second is not None:
            other, factor = self.second.of(encoded)
            level = level * self.second.size + other
            if factor is not None:
                value = factor if value is None else value * factor
        return self.start + level, value

    def entry(self, x: Sequence[Value]) -> tuple[int, float]:
        """Return one member's (column, value) in this block."""
        level, value = _entry(self.first, x)
        if self.second is not None:
            other, factor = _entry(self.second, x)
            return self.start + level * self.second.size + other, value * factor
        return self.start + level, value


def _entry(part: Part, x: Sequence[Value]) -> tuple[int, float]:
    got = x[part.feature]
    if part.kind == "level":
        level = int(got or MISSING)
        return (level if level < part.size else RARE), 1.0
    if part.kind == "missing":
        return 0, 1.0 if got is None else 0.0
    return 0, 0.0 if got is None else float(got)


def _index(code: FeatureCode) -> dict[str, int]:
    return {level: place + 2 for place, level in enumerate(code.levels)}


def _numbers(code: FeatureCode, column: Sequence[Any] | NDArray[Any]) -> NDArray[np.float64]:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        numbers = column.astype(np.float64)
    else:
        values = column.tolist() if isinstance(column, np.ndarray) else column
        if set(map(type, values)) <= {float, type(None)}:  # no text, no boolean, no integer that a double cannot hold
            numbers = np.array(values, np.float64)
        else:
            found = [number_of(value) for value in values]
            numbers = np.array(found, np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    if code.transform == "log":
        # numpy's own log1p may differ from math.log1p in the last bit, and differs between processors.
        logs = np.fromiter(map(math.log1p, np.abs(numbers).tolist()), np.float64, len(numbers))
        numbers = np.copysign(logs, numbers)
    with np.errstate(over="ignore"):  # what is beyond every number is clipped as well
        standard = np.clip((numbers - code.centre) / code.scale, code.low, code.high)
    return np.rint(standard * _STEPS) / _STEPS + 0.0  # -0.0 becomes 0.0, as round() gives


def _levels(code: FeatureCode, column: Sequence[Any] | NDArray[Any]) -> NDArray[np.int32]:
    index = _index(code)
    values = column.tolist() if isinstance(column, np.ndarray) else column
    known = ((index.get(value, RARE) if value.__class__ is str else _level(index, value)) for value in values)
    return np.fromiter(known, np.int32, len(values))


def _level(index: dict[str, int], raw: object) -> int:
    text = text_of(raw)
    return MISSING if text is None else index.get(text, RARE)


def _layout(encoder: Encoder) -> Layout:
    places = {"numeric": 0, "categorical": 0}
    parts: list[Part] = []
    columns = [Column("1", "intercept")]
    blocks: list[Block] = []
    for index, code in enumerate(encoder.features):
        place = places[code.kind]
        places[code.kind] += 1
        if code.kind == "numeric":
            parts.append(Part("value", index, place, 1))
            blocks.append(Block(len(columns), parts[-1]))
            blocks.append(Block(len(columns) + 1, Part("missing", index, place, 1)))
            columns += [Column(code.attribute, "numeric"), Column(f"{code.attribute} missing", "missing")]
        else:
            parts.append(Part("level", index, place, len(code.levels) + 2))
            blocks.append(Block(len(columns), parts[-1]))
            columns += [Column(name, f"levels:{code.attribute}") for name in _names(code, len(code.levels) + 2)]
    for pair in encoder.pairs:
        first, second = (_capped(parts[index]) for index in pair)
        codes = [encoder.features[index] for index in pair]
        blocks.append(Block(len(columns), first, second))
        group = f"pair:{codes[0].attribute}×{codes[1].attribute}"
        columns += [
            Column(f"{left} × {right}", group)
            for left in _names(codes[0], first.size)
            for right in _names(codes[1], second.size)
        ]
    return Layout(tuple(columns), tuple(blocks))


def _capped(part: Part) -> Part:
    if part.kind != "level":
        return part
    return Part("level", part.feature, part.place, min(part.size, PAIR_LEVELS + 2))


def _names(code: FeatureCode, size: int) -> list[str]:
    if code.kind == "numeric":
        return [code.attribute]
    return [f"{code.attribute} missing", f"{code.attribute} rare", *(f"{code.attribute}={v}" for v in code.levels)][
        :size
    ]
