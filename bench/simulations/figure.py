"""One simulated figure, its Monte Carlo error and what it is held to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One cell of the table.

    Attributes:
        subject: what was done, e.g. "group sequential, O'Brien–Fleming, 100 looks".
        measure: what was counted, e.g. "false alarms" or "coverage".
        value: the figure.
        std_error: its Monte Carlo standard error; 0 for what is computed exactly.
        runs: simulated experiments; 0 for what is computed exactly.
        least: the value must not lie more than two standard errors below this, where given.
        most: nor more than two standard errors above this.
        seed: of the generator.
    """

    subject: str
    measure: str
    value: float
    std_error: float = 0.0
    runs: int = 0
    least: float | None = None
    most: float | None = None
    seed: int | None = None

    @property
    def met(self) -> bool:
        """Whether the figure is within its goal, with two standard errors allowed.

        >>> Figure(subject="fixed", measure="false alarms", value=0.053, std_error=0.0015, most=0.05).met
        True
        """
        low = self.least is None or self.value >= self.least - 2 * self.std_error
        return low and (self.most is None or self.value <= self.most + 2 * self.std_error)


def share(subject: str, measure: str, hits: int, runs: int, seed: int, **goal: float) -> Figure:
    """Return the figure of ``hits`` out of ``runs``.

    >>> share("fixed", "false alarms", 51, 1000, 7, most=0.05).std_error.__round__(4)
    0.007
    """
    value = hits / runs
    error = (value * (1 - value) / runs) ** 0.5
    return Figure(subject=subject, measure=measure, value=value, std_error=error, runs=runs, seed=seed, **goal)
