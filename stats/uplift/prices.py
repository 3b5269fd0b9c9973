"""What an outcome earns and what an offer costs, so that effects become money."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.uplift.trial import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Prices:
    """Value of an outcome, and cost of each arm; money in major units.

    A coupon is paid when it is *redeemed*, not when it is sent: its expected cost is the cost of one redemption × the
    redemptions an outcome brings × the expected outcome under the offer. A contact is paid for everybody who is sent
    one.

    >>> prices = Prices(value=60.0, redemption=np.array([0.0, 30.0]), redeemed=np.array([0.0, 1.0]),
    ...                 contact=np.array([0.0, 0.1]))
    >>> prices.net(np.array([[0.02, 0.05]])).round(2)  # 60 × .02; (60 − 30) × .05 − .1
    array([[1.2, 1.4]])
    """

    value: float
    """Of an outcome of 1, before the offer's cost; 1.0 where outcomes are money already."""
    redemption: FloatArray
    """(K + 1,): cost of one redemption of each arm's offer; (n, K + 1) where it differs by unit."""
    redeemed: FloatArray
    """(K + 1,): expected redemptions for an outcome of 1 under the arm; 1: every buyer redeems."""
    contact: FloatArray
    """(K + 1,): cost of sending the arm's offer to one unit."""
    values: FloatArray | None = None
    """(K + 1,): value of an outcome of 1 under each arm, where these differ: baskets shrink or grow under an offer.
    ``None``: ``value`` under all."""

    @classmethod
    def none(cls, arms: int) -> Prices:
        """Return prices that leave outcomes as they are: each is worth 1, and nothing costs anything."""
        zero = np.zeros(arms)
        return cls(1.0, zero, zero, zero)

    @property
    def worth(self) -> FloatArray:
        """(K + 1,): value of an outcome of 1 under each arm, before the offer's cost."""
        return np.full(len(self.contact), self.value) if self.values is None else self.values

    def net(self, outcomes: FloatArray) -> FloatArray:
        """Return what each arm would earn, net of its cost.

        Args:
            outcomes: (n, K + 1), expected under each arm.

        Returns:
            (n, K + 1), money a unit.
        """
        return (self.worth - self.redemption * self.redeemed) * outcomes - self.contact

    def expected_cost(self, outcomes: FloatArray) -> FloatArray:
        """Return what each arm's offer would cost in redemptions and contact, (n, K + 1)."""
        return self.redemption * self.redeemed * outcomes + self.contact

    def realised(self, outcome: FloatArray, arm: IntArray, redemptions: FloatArray | None = None) -> FloatArray:
        """Return what each unit earned, net of what its own arm cost.

        Args:
            outcome: (n,), observed.
            arm: (n,), given.
            redemptions: (n,), how often each unit redeemed; ``None``: as often as its arm's ``redeemed`` says.

        Returns:
            (n,), money.
        """
        return self.worth[arm] * outcome - self.spent(outcome, arm, redemptions)

    def spent(self, outcome: FloatArray, arm: IntArray, redemptions: FloatArray | None = None) -> FloatArray:
        """Return what each unit's own arm cost in redemptions and contact, (n,); see `realised`."""
        used = self.redeemed[arm] * outcome if redemptions is None else redemptions
        each = self.redemption[arm] if self.redemption.ndim == 1 else self.redemption[np.arange(len(arm)), arm]
        return each * used + self.contact[arm]
