"""What a simulation gave, as a table for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.simulating.comparing import Standing
from experiments.simulating.environment import Environment

PIPED_WIDTH = 110
WORDS: Mapping[str, Mapping[str, str]] = {
    "policy": {"en": "policy", "zh-CN": "策略"},
    "percent": {"en": "% of best", "zh-CN": "占最优 %"},
    "versus": {"en": "vs first", "zh-CN": "与首行之差"},
    "regret": {"en": "lost each", "zh-CN": "每次损失"},
    "least": {"en": "least p", "zh-CN": "最小概率"},
    "seconds": {"en": "CPU s", "zh-CN": "CPU 秒"},
    "caption": {
        "en": "{decisions:,} decisions, an update every {every:,}, {seeds} worlds; ± one standard error",
        "zh-CN": "{decisions:,} 次决策，每 {every:,} 次更新一次，{seeds} 个模拟世界；± 为一个标准误",
    },
    "held_out": {"en": "held out from tuning", "zh-CN": "未用于任何调参"},
}


def print_standings(environment: Environment, standings: Sequence[Standing], *, lang: str = "en") -> None:
    """Print the table to standard output."""

    def word(key: str) -> str:
        return WORDS[key][lang]

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(word("policy"), overflow="fold", min_width=min(30, max(len(one.policy) for one in standings)))
    for key in ("percent", "versus", "regret", "least", "seconds"):
        table.add_column(word(key), justify="right", no_wrap=True)
    for one in standings:
        first = one is standings[0]
        table.add_row(
            one.policy,
            _with_error(one.percent, one.std_error, "{:.1f}"),
            "" if first else _with_error(one.versus, one.versus_std_error, "{:+.1f}"),
            f"{one.regret[-1] / environment.decisions:.3f}",
            f"{one.least_propensity:.2g}",
            f"{one.seconds:.1f}",
        )
    said = {"decisions": environment.decisions, "every": environment.every, "seeds": len(standings[0].by_seed)}
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(f"{environment.name}: {titled(environment, lang)}", soft_wrap=True)
    console.print(table)
    console.print(word("caption").format(**said), style="dim", soft_wrap=True)


def titled(environment: Environment, lang: str) -> str:
    """Return what an environment is, and whether it was held out."""
    held_out = f" ({WORDS['held_out'][lang]})" if environment.held_out else ""
    return environment.title[lang] + held_out


def standings_json(environment: Environment, standings: Sequence[Standing]) -> str:
    """Return the same, with every seed and the curves, as a JSON document."""
    document = {
        "environment": environment.name,
        "title": environment.title,
        "held_out": environment.held_out,
        "decisions": environment.decisions,
        "every": environment.every,
        "policies": [_document(one) for one in standings],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _document(one: Standing) -> dict[str, Any]:
    return {
        "policy": one.policy,
        "percent_of_best": one.percent,
        "std_error": one.std_error,
        "versus_first": one.versus,
        "versus_first_std_error": one.versus_std_error,
        "by_seed": one.by_seed,
        "least_propensity": one.least_propensity,
        "cpu_seconds": one.seconds,
        "decisions": one.at.tolist(),
        "regret": one.regret.tolist(),
        "regret_std_error": None if one.regret_std_error is None else one.regret_std_error.tolist(),
    }


def _with_error(value: float, error: float | None, form: str) -> str:
    return form.format(value) + ("" if error is None else f" ± {error:.1f}")
