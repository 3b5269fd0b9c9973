"""What the surrogate index foretells, as text and JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from experiments.programme.surrogate_document import Surrogate
from experiments.programme.surrogate_words import TEXTS

PIPED_WIDTH = 110


def render_surrogate_json(found: Surrogate) -> str:
    """Return the document as JSON."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def print_surrogate(found: Surrogate, lang: str = "en") -> None:
    """Print the effects, what they rest on, and how the index did before."""
    from rich.console import Console

    plain = Console(highlight=False, markup=False, emoji=False)
    target = plain if plain.is_terminal else Console(highlight=False, markup=False, emoji=False, width=PIPED_WIDTH)
    shown: dict[str, Any] = {"experiment": found.experiment, "long": found.long, "long_days": found.long_days}
    target.print("")
    target.print(TEXTS["title"][lang].format(**shown, early_days=found.early_days), style="bold")
    target.print(found.verdict[lang])
    level = TEXTS["interval"][lang].format(level=1 - found.alpha)
    effects = _table([TEXTS["variant"][lang], TEXTS["foretold"][lang], level])
    for row in found.effects:
        effects.add_row(row.variant, f"{row.estimate:+,.4g}", f"{row.ci_low:+,.4g} … {row.ci_high:+,.4g}")
    target.print(effects)
    told = {"units": found.units, "early": ", ".join(found.early), "explained": found.explained, "long": found.long}
    target.print(TEXTS["index"][lang].format(**told))
    if found.past:
        past = _table([TEXTS["past"][lang], TEXTS["foretold"][lang], level, TEXTS["observed"][lang], level])
        for one in found.past:
            past.add_row(
                one.comparison,
                f"{one.foretold:+,.4g}",
                f"{one.foretold_low:+,.4g} … {one.foretold_high:+,.4g}",
                f"{one.observed:+,.4g}",
                f"{one.observed_low:+,.4g} … {one.observed_high:+,.4g}",
            )
        target.print(past)
    if found.slope is not None and found.slope_error is not None:
        target.print(TEXTS["slope"][lang].format(slope=found.slope, error=found.slope_error))
    for assumption in found.assumptions:
        target.print(f"· {assumption[lang]}")


def _table(names: list[str]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place == 0 else "right")
    return table
