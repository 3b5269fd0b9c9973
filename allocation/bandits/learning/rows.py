"""What is learned from: matured decisions and what each of them earned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Rows:
    """Matured decisions, one a row, in any order.

    Attributes:
        variant: index among the settings' variants, shape (n,).
        columns: raw attributes at the decision by name, each of shape (n,); ``None`` or NaN is missing.
        converted: whether the decision was followed by the outcome, shape (n,).
        amount: what that earned, net of the costs of redeeming, before the cost of contact, shape (n,); 0 where not
            converted. Any unit; it is that of the settings' ``contact``.
        age_days: how long ago the decision was made, at least 0, shape (n,).
        propensity: probability with which the variant was drawn, shape (n,).
        unit: codes of the units, shape (n,).
        weight: what a row counts, 1 by default, shape (n,).

    >>> rows = Rows(variant=np.array([0, 1]), columns={"stage": np.array(["new", None], dtype=object)},
    ...             converted=np.array([True, False]), amount=np.array([12.5, 0.0]))
    >>> rows.n, rows.weight.tolist()
    (2, [1.0, 1.0])
    """

    variant: npt.NDArray[np.intp]
    columns: Mapping[str, npt.NDArray[Any]]
    converted: npt.NDArray[np.bool_]
    amount: npt.NDArray[np.float64]
    age_days: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    propensity: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    unit: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    weight: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        n = len(self.variant)
        cleaned: dict[str, npt.NDArray[Any]] = {
            "variant": np.asarray(self.variant, dtype=np.intp),
            "converted": np.asarray(self.converted, dtype=np.bool_),
            "amount": np.asarray(self.amount, dtype=np.float64),
            "age_days": _or_else(self.age_days, np.zeros(n)),
            "propensity": _or_else(self.propensity, np.ones(n)),
            "unit": _or_else(self.unit, np.arange(n)).astype(np.intp),
            "weight": _or_else(self.weight, np.ones(n)),
        }
        for name, values in {**cleaned, **self.columns}.items():
            if values.shape != (n,):
                raise ValueError(f"{name} must have shape ({n},), one value for each decision, not {values.shape}")
        for name, values in cleaned.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ValueError(f"{name} has a value that is not a finite number; leave such decisions out")
        for name in ("age_days", "weight"):
            if n and cleaned[name].min() < 0:
                raise ValueError(f"{name} has a negative value; it must be at least 0")
        if n and cleaned["variant"].min() < 0:
            raise ValueError("variant has a negative index")
        if (cleaned["amount"][~cleaned["converted"]] != 0).any():
            raise ValueError("amount must be 0 where nothing was converted")
        for name, values in cleaned.items():
            object.__setattr__(self, name, values)

    @property
    def n(self) -> int:
        """How many decisions."""
        return len(self.variant)

    def take(self, index: npt.NDArray[Any]) -> Self:
        """Return the rows at an index or mask, in its order."""
        return type(self)(
            variant=self.variant[index],
            columns={name: values[index] for name, values in self.columns.items()},
            converted=self.converted[index],
            amount=self.amount[index],
            age_days=self.age_days[index],
            propensity=self.propensity[index],
            unit=self.unit[index],
            weight=self.weight[index],
        )

    def discounted(self, half_life_days: float | None) -> npt.NDArray[np.float64]:
        """Return what each row counts: its weight, halved for every half-life of its age; shape (n,).

        >>> rows = Rows(variant=np.array([0]), columns={}, converted=np.array([True]), amount=np.array([1.0]),
        ...             age_days=np.array([20.0]))
        >>> rows.discounted(10.0).tolist()
        [0.25]
        """
        if half_life_days is None:
            return self.weight
        weight: npt.NDArray[np.float64] = self.weight * 0.5 ** (self.age_days / half_life_days)
        return weight


def _or_else(values: npt.NDArray[Any], default: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values as floats, or the default where none were given (an empty array for some rows)."""
    return np.asarray(values, dtype=np.float64) if len(values) or not len(default) else default
