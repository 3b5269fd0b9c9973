"""A linear axis with round ticks, shared by the rows of a table, that clips what would squeeze all others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

Bounds = tuple[float | None, float | None, float | None]
"""Low, estimate, high of one row; None where it does not exist."""

# Room for half a label at both ends, so that labels stay inside the picture.
PADDING = 18.0
# A row may stretch the axis to this many times the median reach of all rows; beyond it is clipped with an arrow.
REACH = 4.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels of a picture ``width`` wide."""

    low: float
    high: float
    ticks: tuple[float, ...]
    width: float

    def x(self, value: float) -> float:
        """Return the pixel of a value; outside the axis it is clamped to the edge."""
        inside = min(max(value, self.low), self.high)
        return PADDING + (inside - self.low) / (self.high - self.low) * (self.width - 2 * PADDING)

    def beyond(self, value: float) -> bool:
        """Say whether a value lies outside the axis."""
        slack = 1e-9 * (self.high - self.low)
        return value < self.low - slack or value > self.high + slack


def nice_step(span: float, about: int) -> float:
    """Return a step of 1, 2, 2.5 or 5 times a power of ten that divides a span into about so many parts.

    Example:
        >>> nice_step(0.6, 6)
        0.1
    """
    raw = span / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return float(next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999))


def round_ticks(low: float, high: float, about: int) -> tuple[float, ...]:
    """Return round ticks that cover a range from outside, with zero among them when it is inside."""
    step = nice_step(high - low, about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Rounding takes the last digits' noise away; of steps that are themselves next to nothing it must leave something.
    digits = max(12, 3 - math.floor(math.log10(step)))
    return tuple(round(index * step, digits) + 0.0 for index in range(first, last + 1))


def shared_scale(
    rows: Iterable[Bounds], *, width: float, limits: Sequence[float] = (), about: int = 6, tick_width: float = 44.0
) -> Scale:
    """Fit one axis to all rows of a table; zero is always on it.

    Args:
        rows: low, estimate, high per row.
        width: of the picture in pixels.
        limits: other values to show, such as guardrail limits.
        about: number of parts wished for.
        tick_width: pixels one label needs; sets the fewest.

    Returns:
        The axis. A row that reaches beyond four times the median row is clipped; its estimate is kept inside where it
        lies within eight times of it.
    """
    rows = list(rows)
    finite = [[v for v in row if v is not None and math.isfinite(v)] for row in rows]
    reaches = [max(abs(v) for v in row) for row in finite if row]
    low, high = 0.0, 0.0
    if reaches:
        usual = median(reaches) or max(reaches)
        cap = REACH * usual
        for bounds, (_, middle, _) in zip(finite, rows, strict=True):
            # A row too wide for the axis is clipped with an arrow and must not stretch it; its estimate is kept.
            fits = bool(bounds) and max(abs(v) for v in bounds) <= cap
            kept = bounds if fits else ([middle] if middle is not None and math.isfinite(middle) else [])
            for value in kept:
                low, high = min(low, max(value, -2 * cap)), max(high, min(value, 2 * cap))
        for limit in limits:
            if abs(limit) <= 2 * cap:
                low, high = min(low, limit), max(high, limit)
    if high - low <= 0:
        low, high = -1.0, 1.0
    # A little of the other side shows where zero is crossed, and no point sits on the edge.
    low, high = min(low * 1.03, -0.08 * (high - low)), max(high * 1.03, 0.08 * (high - low))
    ticks = round_ticks(low, high, min(about, max(2, int(width // tick_width))))
    return Scale(ticks[0], ticks[-1], ticks, width)
