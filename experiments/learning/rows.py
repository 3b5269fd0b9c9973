"""Matured decisions of an experiment with what each of them earned: what is learned from, gated, reported, replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from experiments.measure.days import DAY_US

if TYPE_CHECKING:
    from allocation.bandits.learning.rows import Rows
    from experiments.keeping.records import ExperimentRecord
    from experiments.store import Store

GROUPS = ("policy", "uniform", "hash")
"""Who drew: a policy (also at a cold start), the even split of the control group, or the hash, in an experiment
without a policy, such as the one that a policy starts from."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearningRows:
    """Matured decisions, one a row, in order of time and then of their ids: the same rows, whatever order they came in.

    A decision is matured when its attribution window is over at ``until``. Amounts are in major units of the currency.
    """

    variants: tuple[str, ...]
    """In the experiment's order: K of them."""
    until: int
    """Microseconds since 1970 UTC; nothing later was read."""
    decision_id: npt.NDArray[np.object_]
    """Shape (n,), as all below unless said otherwise."""
    unit: npt.NDArray[np.intp]
    """Codes of units: 0, 1, 2 …; the ids that are known to be one unit share one."""
    at: npt.NDArray[np.int64]
    """When it was decided, in microseconds since 1970 UTC."""
    version: npt.NDArray[np.int64]
    """Of the policy; 0 for a cold start, and where no policy drew."""
    group: npt.NDArray[np.object_]
    """One of `GROUPS`."""
    variant: npt.NDArray[np.intp]
    """Index among ``variants``."""
    eligible: npt.NDArray[np.bool_]
    """Shape (n, K): which ones could be drawn."""
    p: Floats
    """Shape (n, K): the probabilities that were drawn from, 0 where not eligible."""
    propensity: Floats
    """The drawn variant's probability."""
    columns: Mapping[str, npt.NDArray[np.object_]]
    """Attributes as they were frozen at the decision; ``None`` where unknown."""
    converted: npt.NDArray[np.bool_]
    """Whether it earned anything: an outcome for a proportion, an amount other than 0 for amounts."""
    amount: Floats
    """What it earned, net of the costs of redeeming, before the cost of contact."""
    contact: Floats
    """Shape (K,): what one contact costs by variant."""
    immature: int = 0
    """Decisions whose window is not over yet."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Decisions that are not among the rows, by reason: override, excluded, conflicting, no_propensity, not_drawn,
    propensity_differs."""
    outcomes: int = 0
    """Outcomes that were attributed to a decision, each counted once."""
    overlaps: int = 0
    """Of these, how many fell into the windows of several decisions."""
    last_event: int | None = None
    """When the latest event of the kinds that count happened."""

    @property
    def n(self) -> int:
        """How many decisions."""
        return len(self.variant)

    @property
    def reward(self) -> Floats:
        """What each decision earned after the cost of its contact, shape (n,)."""
        reward: Floats = self.amount - self.contact[self.variant]
        return reward

    @property
    def age_days(self) -> Floats:
        """How long before ``until`` each decision was made, shape (n,)."""
        age: Floats = (self.until - self.at) / DAY_US
        return age

    def take(self, index: npt.NDArray[Any]) -> LearningRows:
        """Return some of the rows, by mask or index; the counts beside the rows stay as they are."""
        from dataclasses import replace

        return replace(
            self,
            columns={name: values[index] for name, values in self.columns.items()},
            **{name: getattr(self, name)[index] for name in _BY_ROW},
        )

    def of_group(self, group: str) -> LearningRows:
        """Return the rows that one of `GROUPS` drew."""
        return self.take(self.group == group)

    def rows(self, group: str | None = "policy", *, weight: float = 1.0) -> Rows:
        """Return what `allocation.bandits.learning.train` learns from.

        Args:
            group: only the rows that this one of `GROUPS` drew; ``None``: all. The control group is never learned from.
            weight: what each row counts.
        """
        from allocation.bandits.learning.rows import Rows

        chosen = self if group is None else self.of_group(group)
        return Rows(
            variant=chosen.variant,
            columns=dict(chosen.columns),
            converted=chosen.converted,
            amount=np.where(chosen.converted, chosen.amount, 0.0),
            age_days=chosen.age_days,
            propensity=chosen.propensity,
            unit=chosen.unit,
            weight=np.full(chosen.n, weight),
        )


_BY_ROW = (
    "decision_id",
    "unit",
    "at",
    "version",
    "group",
    "variant",
    "eligible",
    "p",
    "propensity",
    "converted",
    "amount",
)


def matured(store: Store, record: ExperimentRecord, until: int, *, since: int | None = None) -> LearningRows:
    """Read the matured decisions of an experiment out of the service's own log.

    The store's connections are closed first (see ``Store.close``): to be called in a process of its own.

    Args:
        store: definitions and log.
        record: the experiment.
        until: microseconds since 1970 UTC; nothing later is read.
        since: decisions before it are not returned.

    Raises:
        InputError: when nothing can be learned from the experiment's metric, or the database cannot be read.
    """
    from experiments.keeping.repository import Repository
    from experiments.learning.declared import declared
    from experiments.learning.reading import read_rows
    from experiments.sources.log import open_log

    about = declared(Repository(store), record)
    store.close()
    with open_log(store.url) as log:
        return read_rows(log, about, until, since=since)
