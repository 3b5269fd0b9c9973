"""From a file with one row per unit to rows that can be learned from: what is a number, what is a level, what it costs.

A column of text is a number where every value that is there is one. Nothing says which columns were known before the
arm was drawn: they are named, for one that came after would tell the outcome away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.analyze.units import KeptRows, keep_units
from experiments.errors import InputError, unknown_name
from experiments.intended import split_weights
from experiments.sources.columns import MISSING_WORDS, read_columns
from experiments.sources.file import ROW, FileTable, first_line, open_file
from experiments.uplift.arrays import arrays_of
from experiments.uplift.learned import Column, Learned, assemble
from experiments.uplift.options import FileOptions
from experiments.uplift.values import numbers_of
from stats.uplift.prices import Prices
from stats.uplift.trial import FloatArray

MOST_ARMS = 20
LEAST_UNITS = 100
"""Of each arm; with fewer nothing is learned."""
MANY_LEVELS = 1_000
"""A column of text with more levels than this, and fewer than ten rows for each, names units rather than groups."""
LARGEST = 1e12


def read_rows(path: str | Path, options: FileOptions) -> Learned:
    """Read a file; see `experiments.uplift.learned.rows_of_file`."""
    import duckdb

    with open_file(path, encoding=options.encoding) as file:
        try:
            return _FileRows(file, options, _Roles.of(file, options)).learned()
        except duckdb.Error as error:
            raise InputError(f"{file.path}: cannot be read: {first_line(error)}") from error


@dataclass(frozen=True)
class _Roles:
    """Which column does what, by the names in the engine."""

    variant: str
    outcome: str
    unit: str | None
    redeemed: str | None
    """Column of redemptions."""
    redeemed_share: float | None
    propensity: dict[str, str]
    """Arm → column; under the empty name the column of the arm that was given."""
    rfm: dict[str, str]
    attributes: tuple[str, ...]

    @classmethod
    def of(cls, file: FileTable, options: FileOptions) -> _Roles:
        redeemed, share = None, None
        if options.redeemed is not None:
            share = _share(options.redeemed)
            redeemed = None if share is not None else file.require(options.redeemed)
        propensity: dict[str, str] = {}
        for text in options.propensity:
            arm, equals, column = text.partition("=")
            if text in file.header or not equals:
                propensity[""] = file.require(text)
            else:
                propensity[arm.strip()] = file.require(column.strip())
        rfm = {
            name: file.require(column)
            for name in ("recency", "frequency", "monetary")
            if (column := getattr(options, name)) is not None
        }
        if rfm and len(rfm) < 3:
            missing = next(name for name in ("recency", "frequency", "monetary") if name not in rfm)
            raise InputError(f"--{missing} is missing: an RFM rule needs --recency, --frequency and --monetary")
        own = {
            "--variant": file.require(options.variant),
            "--outcome": file.require(options.outcome),
            **({"--unit": file.require(options.unit)} if options.unit else {}),
            **({"--redeemed": redeemed} if redeemed else {}),
            **{f"--propensity {arm}".strip(): column for arm, column in propensity.items()},
        }
        if own["--variant"] == own["--outcome"]:
            raise InputError(f"column {options.outcome!r} is named as --variant and as --outcome: name it once")
        return cls(
            own["--variant"],
            own["--outcome"],
            own.get("--unit"),
            redeemed,
            share,
            propensity,
            rfm,
            _attributes(file, options, own),
        )


def _attributes(file: FileTable, options: FileOptions, own: dict[str, str]) -> tuple[str, ...]:
    taken = {column: option for option, column in own.items()}
    if options.all_but is not None:
        left_out = {file.require(name) for name in options.all_but}
        found = [name for name in file.columns if name not in taken and name not in left_out]
    else:
        found = [file.require(name) for name in dict.fromkeys(options.attributes)]
        for name in found:
            if name in taken:
                raise InputError(f"column {name!r} is named as {taken[name]} and as an attribute: name it once")
    if not found:
        raise InputError(
            "no attributes to learn from: name the columns that were known before the offer with --attribute COLUMN, "
            "or --all-but the columns that came after"
        )
    return tuple(found)


@dataclass(frozen=True)
class _FileRows:
    """A file on its way to rows."""

    file: FileTable
    options: FileOptions
    roles: _Roles

    def learned(self) -> Learned:
        """Return the rows."""
        kept, found = self._read()
        arms = self._arms(kept)
        index = {key: place for place, key in enumerate(arms)}
        arm = np.array([index[key] for key in found["text:variant"]], dtype=np.intp)
        outcome = found[self.roles.outcome]
        known = np.isfinite(outcome)
        self._check(outcome, known, arm, arms)
        if self.roles.redeemed is not None:
            known &= np.isfinite(found[self.roles.redeemed])
        columns, dropped = self._columns(found)
        propensity = self._propensity(found, arm, arms, kept.counts)
        columns = {name: values[known] for name, values in columns.items()}
        trial, encoder = assemble(outcome[known], arm[known], propensity[known], columns)
        redemptions = found[self.roles.redeemed][known] if self.roles.redeemed else None
        prices, assumed = self._prices(arms, trial.outcome, trial.arm, redemptions)
        left_out = {
            "contaminated": kept.contaminated,
            "duplicate": kept.duplicates,
            "no_variant": kept.no_variant,
            "no_unit": kept.no_unit,
            "no_outcome": int((~known).sum()),
            **dropped,
        }
        units = found["text:unit"] if self.roles.unit else np.arange(1, len(arm) + 1).astype(str).astype(object)
        names = dict(zip(self.file.columns, self.file.header, strict=True))
        return Learned(
            trial=trial,
            columns=columns,
            encoder=encoder,
            prices=prices,
            arms=arms,
            units=units[known],
            outcome=self.options.outcome,
            currency=self._currency(),
            redemptions=redemptions if prices.redemption.any() else None,
            counts=kept.counts,
            weights=self._weights(arms),
            logged=bool(self.roles.propensity),
            left_out={reason: n for reason, n in left_out.items() if n},
            rfm=self._rfm(found, known),
            outcome_label={"en": self.options.outcome, "zh-CN": self.options.outcome},
            labels={name: {"en": names[name], "zh-CN": names[name]} for name in columns},
            assumed=assumed,
        )

    def _read(self) -> tuple[KeptRows, dict[str, NDArray[Any]]]:
        """Return the rows that count and their columns: numbers as doubles, attributes as text or numbers."""
        roles, file = self.roles, self.file
        numbers = [roles.outcome, *roles.propensity.values(), *roles.rfm.values()]
        numbers += [roles.redeemed] if roles.redeemed else []
        texts = {"text:variant": roles.variant, **({"text:unit": roles.unit} if roles.unit else {})}
        texts |= {f"text:{name}": name for name in roles.attributes if not self._is_number(name)}
        numbers += [name for name in roles.attributes if self._is_number(name)]
        table = read_columns(file, texts, list(dict.fromkeys(numbers)), materialise=True)
        kept = keep_units(file, table, "text:variant", "text:unit" if roles.unit else None)
        return kept, arrays_of(kept.table.order_by(ROW))

    def _is_number(self, name: str) -> bool:
        """Return whether a column of the file has a type of numbers; text is looked into later."""
        kind = self.file.table[name].type()
        return bool(kind.is_numeric())

    def _arms(self, kept: KeptRows) -> tuple[str, ...]:
        found, path = sorted(kept.counts), self.file.path
        if self.options.control not in kept.counts:
            if not found:
                raise InputError(f"{path}: no rows with an arm in column {self.options.variant!r}")
            raise unknown_name("arm", self.options.control, found, f"in column {self.options.variant!r} of {path}")
        if not 2 <= len(found) <= MOST_ARMS:
            what = "only one value" if len(found) < 2 else f"{len(found):,} different values (at most {MOST_ARMS})"
            raise InputError(f"{path}: column {self.options.variant!r} has {what}: is it the column of arms?")
        return (self.options.control, *(key for key in found if key != self.options.control))

    def _check(self, outcome: FloatArray, known: NDArray[np.bool_], arm: NDArray[np.intp], arms: Sequence[str]) -> None:
        path, name = self.file.path, self.options.outcome
        if np.isinf(outcome).any() or (known.any() and float(np.abs(outcome[known]).max()) > LARGEST):
            raise InputError(f"{path}: column {name!r} holds values beyond {LARGEST:.0e}: check its unit")
        counts = np.bincount(arm[known], minlength=len(arms))
        for key, n in zip(arms, counts, strict=True):
            if n < LEAST_UNITS:
                raise InputError(
                    f"{path}: arm {key!r} has {int(n):,} rows with an outcome; {LEAST_UNITS} are the least: "
                    f"{'gather more' if key == arms[0] or len(arms) == 2 else 'leave its rows out, or gather more'}"
                )

    def _columns(self, found: dict[str, NDArray[Any]]) -> tuple[dict[str, Column], dict[str, int]]:
        columns: dict[str, Column] = {}
        names = dict(zip(self.file.columns, self.file.header, strict=True))
        ids = []
        for name in self.roles.attributes:
            values = found[name] if self._is_number(name) else _typed(found[f"text:{name}"])
            if values.dtype == object:
                levels = len({value for value in values if value is not None})
                if levels > MANY_LEVELS and levels > len(values) / 10:
                    ids.append(names[name])
                    continue
            columns[name] = np.where(np.isfinite(values), values, np.nan) if values.dtype != object else values
        if not columns:
            raise InputError(f"{self.file.path}: {', '.join(ids)}: almost every row has another value; name attributes")
        return columns, {f"id:{name}": 1 for name in ids}

    def _weights(self, arms: Sequence[str]) -> dict[str, float]:
        if self.options.split is None:
            return {}
        return {key: float(weight) for key, weight in split_weights(self.options.split, list(arms)).items()}

    def _propensity(
        self, found: dict[str, NDArray[Any]], arm: NDArray[np.intp], arms: Sequence[str], counts: dict[str, int]
    ) -> FloatArray:
        """Return (n, K + 1): of the columns that hold it, else of the intended split, else as rows are shared."""
        weights = self._weights(arms) or {key: float(counts[key]) for key in arms}
        share = np.array([weights[key] for key in arms])
        out = np.tile(share / share.sum(), (len(arm), 1))
        named = self.roles.propensity
        for key in named:
            if key and key not in arms:
                raise unknown_name("arm", key, list(arms), "of --propensity")
        rows = np.arange(len(arm))
        if "" in named:
            own = found[named[""]]
            self._check_propensity(own, named[""])
            out *= ((1 - own) / (1 - out[rows, arm]))[:, None]
            out[rows, arm] = own
        elif named:
            missing = [key for key in arms if key not in named]
            if len(missing) > 1:
                raise InputError(f"--propensity: give that of every arm but one; missing: {', '.join(missing)}")
            for place, key in enumerate(arms):
                if key in named:
                    out[:, place] = found[named[key]]
                    self._check_propensity(out[:, place], named[key])
            if missing:
                rest = [place for place, key in enumerate(arms) if key in named]
                out[:, arms.index(missing[0])] = 1.0 - out[:, rest].sum(axis=1)
            if (np.abs(out.sum(axis=1) - 1) > 1e-6).any() or (out <= 0).any():
                raise InputError("--propensity: the probabilities of a row must be above 0 and sum to 1")
        return out

    def _check_propensity(self, values: FloatArray, column: str) -> None:
        if not (np.isfinite(values).all() and (values > 0).all() and (values < 1).all()):
            raise InputError(
                f"{self.file.path}: column {column!r} must hold probabilities between 0 and 1 in every row"
            )

    def _currency(self) -> str | None:
        return self.options.currency or ("" if self.options.value is not None else None)

    def _prices(
        self, arms: Sequence[str], outcome: FloatArray, arm: NDArray[np.intp], redemptions: FloatArray | None
    ) -> tuple[Prices, tuple[str, ...]]:
        cost = _by_arm("--redemption-cost", self.options.redemption_cost, arms)
        contact = _by_arm("--contact-cost", self.options.contact_cost, arms)
        value = 1.0 if self.options.value is None else self.options.value
        if not np.isfinite(value) or abs(value) > LARGEST:
            raise InputError(f"--value {value:g}: give the money that an outcome of 1 earns, such as 60")
        redeemed = np.zeros(len(arms))
        assumed = []
        if redemptions is not None:
            if (redemptions < 0).any():
                raise InputError(f"column {self.options.redeemed!r} (--redeemed) holds numbers below 0")
            for place in range(1, len(arms)):
                earned = float(outcome[arm == place].sum())
                redeemed[place] = float(redemptions[arm == place].sum()) / earned if earned > 0 else 0.0
        elif cost.any():
            share = self.roles.redeemed_share
            redeemed[1:] = 1.0 if share is None else share
            assumed.append("every_buyer_redeems" if share is None else "given_share")
        if self.options.value is not None:
            assumed.append("given_value")
        return Prices(value, cost, redeemed, contact), tuple(assumed)

    def _rfm(
        self, found: dict[str, NDArray[Any]], known: NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        if not self.roles.rfm:
            return None
        # What is unknown stays NaN, which the rule ranks last: as 0, never having bought would be the latest purchase.
        recency, frequency, monetary = (
            found[self.roles.rfm[name]][known] for name in ("recency", "frequency", "monetary")
        )
        return recency, frequency, monetary


def _typed(values: NDArray[Any]) -> Column:
    """Return text as numbers where all of it is, the usual words for "missing" aside."""
    cleaned = np.array(
        [None if value is None or value.strip().lower() in MISSING_WORDS else value for value in values], dtype=object
    )
    known = cleaned != None  # noqa: E711 - element by element
    if known.any():
        numbers = numbers_of(cleaned)
        if np.isfinite(numbers[known]).all():
            return numbers
    return cleaned


def _by_arm(option: str, given: Sequence[str], arms: Sequence[str]) -> FloatArray:
    """Return an amount for each arm: ``30`` is every offer's, ``a=30`` one arm's."""
    out = np.zeros(len(arms))
    for text in sorted(given, key=lambda each: "=" in each):
        arm, equals, amount = text.rpartition("=")
        try:
            cost = float(amount)
        except ValueError:
            cost = np.nan
        if not 0 <= cost <= LARGEST:
            raise InputError(f"{option} {text!r}: give an amount of 0 or more, such as 30, or for one arm a=30")
        if not equals:
            out[1:] = cost
        elif arm.strip() not in arms:
            raise unknown_name("arm", arm.strip(), list(arms), f"of {option}")
        else:
            out[list(arms).index(arm.strip())] = cost
    return out


def _share(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        return None
    if not 0 <= share <= LARGEST:
        raise InputError(f"--redeemed {text!r}: give a column, or how many redemptions an outcome of 1 brings (0.9)")
    return share
