"""The columns that an analysis names, by the names that they have in the engine; no column in two roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from experiments.analyze.options import AnalyzeOptions
from experiments.errors import InputError
from experiments.sources.columns import ratio_columns
from experiments.sources.file import ROW, FileTable
from experiments.sources.layout import unique_names

LARGEST_SHARE = 1_000.0
"""Redemptions an order."""


@dataclass(frozen=True)
class Survival:
    """A time to an event in a file."""

    days: str
    """Column with how long the unit was followed; so too below."""
    event: str
    horizon: float | None
    """Days; found from the data by default."""


@dataclass(frozen=True)
class Cost:
    """What an offer costs, as it is asked for."""

    variant: str | None
    """``None``: every variant's but control's."""
    amount: float
    column: str | None = None
    """In place of an amount."""


@dataclass(frozen=True)
class Columns:
    """The columns that the options name, by the names that they have in the engine."""

    variant: str | None
    unit: str | None
    metrics: dict[str, str]
    """Name in the file → column; so too below."""
    ratios: dict[str, tuple[str, str]]
    covariates: tuple[str, ...]
    breakdowns: dict[str, str]
    quantiles: dict[str, tuple[str, float]]
    survivals: dict[str, Survival]
    ranks: dict[str, str]
    bootstraps: dict[str, str]
    reached: str | None
    levels: dict[str, str]
    """Other columns that are read as text, by what they are for: strata, cluster, wave, place, period, entered."""
    strata: tuple[str, ...]
    factors: dict[str, tuple[str, str | None]]
    """Name in the file → column, and the base that was named."""
    money: dict[str, str] = field(default_factory=dict)
    """What a column says of the money (the option's name) → column."""
    redeemed_share: float | None = None
    redemption_cost: tuple[Cost, ...] = ()
    contact_cost: tuple[Cost, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)
    """Name in the table of rows → column."""

    @property
    def money_columns(self) -> list[str]:
        """Every column with money, each once."""
        return list(dict.fromkeys(self.money.values()))

    @property
    def outcomes(self) -> list[str]:
        """Every column with an outcome."""
        pairs = [column for pair in self.ratios.values() for column in pair]
        times = [column for s in self.survivals.values() for column in (s.days, s.event)]
        single = [*self.metrics.values(), *pairs, *(c for c, _ in self.quantiles.values())]
        drawn = [*self.ranks.values(), *self.bootstraps.values()]
        return list(dict.fromkeys([*single, *times, *drawn, *self.money_columns]))

    @property
    def numbers(self) -> list[str]:
        """Every column that is read as a number."""
        reached = [] if self.reached is None else [self.reached]
        return list(dict.fromkeys([*self.outcomes, *self.covariates, *reached]))


def find_columns(file: FileTable, options: AnalyzeOptions) -> Columns:
    """Find every column that the options name.

    Raises:
        InputError: for a column that is not there, or has two roles that exclude each other.
    """

    def one(name: str | None) -> str | None:
        return None if name is None else file.require(name)

    ratios: dict[str, tuple[str, str]] = {}
    for text in options.ratios:
        pair = ratio_columns(file, text)
        if pair not in ratios.values():
            ratios[text] = pair
    named = {"cluster": options.cluster, "wave": options.wave, "place": options.place}
    named |= {"period": options.period, "entered": options.entered}
    money = {role: getattr(options, role) for role in ("profit", "margin", "order_value", "orders")}
    money = {role: file.require(name) for role, name in money.items() if name is not None}
    share = None
    if options.redeemed is not None:
        share = None if known(file, options.redeemed) else _number(options.redeemed)
        if share is None:
            money["redeemed"] = file.require(options.redeemed)
        elif not 0 <= share <= LARGEST_SHARE:
            raise InputError(
                f"--redeemed {options.redeemed}: give a column, or how many redemptions an order brings (0.9)"
            )
    redemption = tuple(_cost(file, "redemption_cost", text) for text in options.redemption_cost)
    contact = tuple(_cost(file, "contact_cost", text) for text in options.contact_cost)
    for role, costs in (("redemption_cost", redemption), ("contact_cost", contact)):
        for column in [cost.column for cost in costs if cost.column is not None]:
            money[role] = column
    found = Columns(
        money=money,
        redeemed_share=share,
        redemption_cost=redemption,
        contact_cost=contact,
        variant=one(options.variant),
        unit=one(options.unit),
        metrics={name: file.require(name) for name in options.metrics},
        ratios=ratios,
        covariates=tuple(dict.fromkeys(file.require(name) for name in options.covariates)),
        breakdowns={name: file.require(name) for name in options.breakdowns},
        quantiles={text: _quantile(file, text) for text in options.quantiles},
        survivals={text: _survival(file, text) for text in options.survivals},
        ranks={name: file.require(name) for name in options.ranks},
        bootstraps={name: file.require(name) for name in options.bootstraps},
        reached=one(options.reached),
        levels={role: file.require(name) for role, name in named.items() if name is not None},
        strata=tuple(dict.fromkeys(file.require(name) for name in options.strata)),
        factors=dict(_factor(file, text) for text in options.factors),
    )
    _check_roles(file, found)
    return _with_texts(file, found)


def _check_roles(file: FileTable, found: Columns) -> None:
    names = dict(zip(file.columns, file.header, strict=True))
    factors = [column for column, _ in found.factors.values()]
    texts: dict[str, list[str]] = {
        "variant": [] if found.variant is None else [found.variant],
        "unit": [] if found.unit is None else [found.unit],
        "breakdown": list(found.breakdowns.values()),
        "factor": factors,
        "strata": list(found.strata),
        **{role: [column] for role, column in found.levels.items()},
    }
    _check_numbers(found, names, texts)
    for first, others in (
        ("unit", ("variant", "breakdown", "factor", "strata", "cluster", "wave", "place", "entered")),
        ("variant", ("breakdown", "strata", "cluster", "wave", "place", "period", "entered")),
        ("factor", ("breakdown", "strata", "cluster", "wave", "entered")),
    ):
        for column in texts[first]:
            usual = [role for role in others[:2] if first == "unit" and column in texts.get(role, [])]
            role = "variant or breakdown" if usual else next((r for r in others if column in texts.get(r, [])), None)
            if role is not None:
                raise InputError(f"column {names[column]!r} is named as {first} and as {role}: name it once")
    _check_names(found)


def _check_numbers(found: Columns, names: Mapping[str, str], texts: Mapping[str, Sequence[str]]) -> None:
    """Refuse numbers that are something else too: outcomes, covariates, and whether the offer reached the unit."""
    for column in found.outcomes:
        roles = [role for role, columns in texts.items() if column in columns]
        if roles:
            role = "variant, unit or breakdown" if roles[0] in ("variant", "unit", "breakdown") else roles[0]
            raise InputError(f"column {names[column]!r} is named as a number and as {role}: name it once")
    for column in found.covariates:
        if column in found.outcomes or column == found.reached:
            what = "a metric" if column in found.outcomes else "--reached"
            raise InputError(
                f"column {names[column]!r} is both {what} and a covariate; a covariate is measured before the test"
            )
        if column in (*texts["variant"], *texts["unit"], *texts["factor"]):
            raise InputError(f"column {names[column]!r} is named as covariate and as variant or unit: name it once")
    if found.reached is not None and found.reached in (*texts["variant"], *texts["unit"], *texts["factor"]):
        raise InputError(f"column {names[found.reached]!r} is named as --reached and as variant or unit: name it once")


def _check_names(found: Columns) -> None:
    """Refuse two metrics of one name."""
    seen: dict[str, str] = {}
    ways: tuple[tuple[str, Mapping[str, object]], ...] = (
        ("--metric", found.metrics),
        ("--ratio", found.ratios),
        ("--quantile", found.quantiles),
        ("--survival", found.survivals),
    )
    for option, given in ways:
        for text in given:
            if text in seen:
                raise InputError(f"{text!r} is a {seen[text]} and a {option}: name it once")
            seen[text] = option


def _with_texts(file: FileTable, found: Columns) -> Columns:
    """Choose the names in the table of rows: a column may be covariate and text, and is read twice then."""
    factors = [column for column, _ in found.factors.values()]
    plain = [found.variant, found.unit, *factors]
    levels = [*found.breakdowns.values(), *found.strata, *found.levels.values()]
    twice = {*found.covariates, *([found.reached] if found.reached else [])}
    free = {
        column: alias
        for column, alias in zip(file.columns, unique_names(file.columns, (*file.columns, ROW)), strict=True)
        if column in twice
    }
    texts = {name: name for name in (*plain, *levels) if name is not None and name not in twice}
    texts |= {free[column]: column for column in levels if column in free}
    return replace(
        found,
        breakdowns={name: free.get(column, column) for name, column in found.breakdowns.items()},
        strata=tuple(free.get(column, column) for column in found.strata),
        levels={role: free.get(column, column) for role, column in found.levels.items()},
        texts=texts,
    )


def known(file: FileTable, name: str) -> bool:
    """Return whether the file has a column of that name."""
    return name in file.header or name in file.columns


def _quantile(file: FileTable, text: str) -> tuple[str, float]:
    name, at, share = text.rpartition("@")
    probability = _number(share)
    if not at or not name or probability is None or not 0 < probability < 1:
        raise InputError(f"--quantile {text!r}: write COLUMN@SHARE with a share between 0 and 1, such as spend@0.9")
    return file.require(name.strip()), probability


def _survival(file: FileTable, text: str) -> Survival:
    pair, at, days = text.rpartition("@")
    horizon = _number(days) if at else None
    if not at or (horizon is None and any(known(file, part.strip()) for part in text.split("/")[1:])):
        pair, horizon = text, None
    elif horizon is None or not horizon > 0:
        raise InputError(f"--survival {text!r}: write DAYS/EVENT@HORIZON with a horizon in days, such as days/left@28")
    parts = pair.split("/")
    for cut in range(1, len(parts)):
        first, second = "/".join(parts[:cut]).strip(), "/".join(parts[cut:]).strip()
        if known(file, first) and known(file, second):
            return Survival(file.require(first), file.require(second), horizon)
    if len(parts) != 2 or not parts[0].strip() or not parts[1].strip():
        raise InputError(f"--survival {text!r}: write DAYS/EVENT, two columns of the file, such as days/left")
    return Survival(file.require(parts[0].strip()), file.require(parts[1].strip()), horizon)


def _factor(file: FileTable, text: str) -> tuple[str, tuple[str, str | None]]:
    if known(file, text):
        return text, (file.require(text), None)
    name, equals, base = text.rpartition("=")
    if not equals or not name:
        return text, (file.require(text), None)
    return name, (file.require(name), base)


def _cost(file: FileTable, role: str, text: str) -> Cost:
    """Read ``30``, ``VARIANT=30`` or the name of a column."""
    if known(file, text):
        return Cost(None, 0.0, file.require(text))
    variant, equals, amount = text.rpartition("=")
    number = _number(amount)
    if number is None:
        option = f"--{role.replace('_', '-')}"
        if not equals:
            return Cost(None, 0.0, file.require(text))
        raise InputError(f"{option} {text!r}: give an amount of 0 or more, such as 30, or for one variant a=30")
    return Cost(variant.strip() if equals else None, number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def named_metrics(columns: Columns, option: str, names: Sequence[str]) -> None:
    """Refuse an option that names a metric which was not asked for.

    Raises:
        InputError: with the metrics that there are.
    """
    measured: Mapping[str, object] = {**columns.metrics, **columns.ratios, **columns.quantiles, **columns.survivals}
    for name in names:
        if name not in measured:
            there = ", ".join(measured) or "none"
            raise InputError(f"{option} {name!r}: name a metric that is measured too; there are: {there}")
