"""Regret curves as one SVG file that stands by itself: light and dark, no script, no font to load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from experiments.simulating.comparing import Standing
from experiments.simulating.environment import FloatArray

WIDTH, HEIGHT = 760, 420
LEFT, TOP, BOTTOM = 74, 60, 52
COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7c3aed", "#a16207", "#be185d", "#0e7490", "#57534e")
DASHES = ("", "7 4", "2 3", "10 3 2 3")
STYLE = """
  text { font: 12px system-ui, "Noto Sans CJK SC", sans-serif; fill: #1c1917 }
  .title { font-size: 13px; font-weight: 600 } .soft { fill: #57534e } .grid { stroke: #e7e5e4 }
  .paper { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #f5f5f4 } .soft { fill: #a8a29e } .grid { stroke: #44403c } .paper { fill: #1c1917 }
  }
"""

WORDS = {
    "aria": {"en": "Regret after {:,.0f} decisions", "zh-CN": "{:,.0f} 次决策后的遗憾值"},
    "decisions": {"en": "decisions", "zh-CN": "决策次数"},
    "lost": {"en": "lost against the best choice (lower is better)", "zh-CN": "与最优选择相比的累计损失（越低越好）"},
}


def picture(title: str, standings: Sequence[Standing], *, lang: str = "en") -> str:
    """Return the curves of mean regret with a band of one standard error either way.

    Args:
        title: stands above.
        standings: of the same environment.
        lang: language of the axes.

    Returns:
        An SVG document.
    """
    decisions = float(standings[0].at[-1])
    # Names stand right of the curves, each sign about 7 pixels wide.
    end_x = max(WIDTH - 48 - 7 * max(len(one.policy) for one in standings), WIDTH // 2)
    highest = max(float((one.regret + _error(one)).max()) for one in standings) or 1.0
    step = nice_step(highest)
    top = math.ceil(highest / step) * step

    def x(value: float) -> float:
        return LEFT + value / decisions * (end_x - LEFT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    said = "; ".join(f"{one.policy} {one.regret[-1]:,.0f}" for one in standings)
    label = escape(f"{title}. {WORDS['aria'][lang].format(decisions)}: {said}")
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="12" y="22">{escape(title)}</text>',
    ]
    for index in range(round(top / step) + 1):
        value = index * step
        out.append(
            f'<line class="grid" x1="{LEFT}" x2="{end_x}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text class="soft" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.10g}</text>'
        )
    across, under = nice_step(decisions), HEIGHT - BOTTOM + 18
    for index in range(int(decisions / across) + 1):
        value = index * across
        out.append(f'<text class="soft" x="{x(value):.1f}" y="{under}" text-anchor="middle">{value:,.10g}</text>')
    middle = (LEFT + end_x) / 2
    out.append(
        f'<text class="soft" x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{WORDS["decisions"][lang]}</text>'
    )
    out.append(f'<text class="soft" x="12" y="42">{WORDS["lost"][lang]}</text>')
    ends = _apart([y(float(one.regret[-1])) for one in standings], TOP + 4, HEIGHT - BOTTOM)
    for index, (one, end) in enumerate(zip(standings, ends, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        dash = DASHES[index // len(COLOURS) % len(DASHES)] if index >= len(COLOURS) else DASHES[index % 2]
        band = _error(one)
        upper = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(one.at, one.regret + band, strict=True)]
        lower = [f"{x(a):.1f},{y(max(b, 0.0)):.1f}" for a, b in zip(one.at, one.regret - band, strict=True)]
        line = [f"{x(0):.1f},{y(0):.1f}", *(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(one.at, one.regret, strict=True))]
        if one.regret_std_error is not None:
            out.append(f'<polygon points="{" ".join(upper + lower[::-1])}" fill="{colour}" opacity="0.16"/>')
        out.append(
            f'<polyline points="{" ".join(line)}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
            f'<line x1="{end_x + 6}" x2="{end_x + 30}" y1="{end:.1f}" y2="{end:.1f}" '
            f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
            f'<text x="{end_x + 36}" y="{end + 4:.1f}">{escape(one.policy)}</text>'
        )
    return "\n".join([*out, "</svg>"]) + "\n"


def nice_step(span: float) -> float:
    """Return a round step that divides a span into about five.

    >>> nice_step(20_000), nice_step(0.13)
    (5000.0, 0.05)
    """
    power = 10.0 ** math.floor(math.log10(span / 5))
    return float(next(round(m * power, 12) for m in (1, 2, 2.5, 5, 10) if m * power >= span / 5 * 0.999))


def _error(one: Standing) -> FloatArray:
    return one.regret_std_error if one.regret_std_error is not None else 0.0 * one.regret


def _apart(wished: Sequence[float], low: float, high: float, *, gap: float = 17.0) -> list[float]:
    """Return heights of labels as near to those wished as they can stand without overlapping."""
    order = sorted(range(len(wished)), key=lambda index: wished[index])
    placed = [0.0] * len(wished)
    lowest = low
    for index in order:
        placed[index] = lowest = max(wished[index], lowest)
        lowest += gap
    over = lowest - gap - high
    if over > 0:
        limit = high
        for index in reversed(order):
            placed[index] = limit = min(placed[index], limit)
            limit -= gap
    return placed
