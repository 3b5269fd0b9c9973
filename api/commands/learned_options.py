"""What a randomised file says, as options: of ``equipoise uplift FILE`` and of ``equipoise target --from FILE``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from api.commands.analyze_options import InSection

if TYPE_CHECKING:
    from experiments.uplift.options import FileOptions

F = TypeVar("F", bound=Callable[..., Any])

COLUMNS, MONEY, LEARNING = "Columns", "Money", "Learning"
LARGEST_SEED = 2**31 - 1

OPTIONS: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
    (COLUMNS, ("--variant",), {"metavar": "COL", "help": "Column with the arm."}),
    (COLUMNS, ("--control",), {"metavar": "NAME", "help": "The arm without an offer."}),
    (COLUMNS, ("--outcome",), {"metavar": "COL", "help": "Column with what came of it."}),
    (
        COLUMNS,
        ("--attribute", "attributes"),
        {
            "multiple": True,
            "metavar": "COL[,COL]",
            "help": "What was known before the arm was drawn; repeat for several.",
        },
    ),
    (
        COLUMNS,
        ("--all-but",),
        {"metavar": "COL,COL", "help": "Learn from every other column: name those that came after."},
    ),
    (COLUMNS, ("--unit",), {"metavar": "COL", "help": "The unit's id: finds repeats."}),
    (COLUMNS, ("--split",), {"metavar": '"A=1,B=2"', "help": "Intended weights."}),
    (
        COLUMNS,
        ("--propensity",),
        {
            "multiple": True,
            "metavar": "[ARM=]COL",
            "help": "Probability of the arm given, or of each arm, where these differ between units.",
        },
    ),
    (MONEY, ("--value",), {"type": float, "metavar": "60", "help": "What an outcome of 1 earns."}),
    (MONEY, ("--redemption-cost",), {"multiple": True, "metavar": "[ARM=]30", "help": "Of one redemption."}),
    (
        MONEY,
        ("--redeemed",),
        {
            "metavar": "COL|0.9",
            "help": "Column of redemptions, or how many an outcome brings; every outcome redeems by default.",
        },
    ),
    (MONEY, ("--contact-cost",), {"multiple": True, "metavar": "[ARM=]0.1", "help": "Of sending it to one."}),
    (MONEY, ("--currency",), {"metavar": "CNY", "help": "In which amounts are shown."}),
    (
        LEARNING,
        ("--folds",),
        {"type": click.IntRange(3, 20), "default": 5, "show_default": True, "help": "Parts of cross-fitting."},
    ),
    (
        LEARNING,
        ("--seed",),
        {
            "type": click.IntRange(0, LARGEST_SEED),
            "default": 0,
            "show_default": True,
            "help": "Of folds and trees: the same seed gives the same figures.",
        },
    ),
)
FIELDS = {names[-1].removeprefix("--").replace("-", "_"): (names[0], settings) for _, names, settings in OPTIONS}
"""Field of ``FileOptions`` → how its option is written, and its settings."""


def learned_options(section: str | None = None) -> Callable[[F], F]:
    """Add every option, under headings of their own or under one."""

    def add(command: F) -> F:
        for own, names, settings in reversed(OPTIONS):
            command = click.option(*names, cls=InSection, section=section or own, **settings)(command)
        return command

    return add


def given(asked: Mapping[str, Any]) -> list[str]:
    """Return the options that were given other than at their defaults, as they are written."""
    return [
        option
        for field, (option, settings) in FIELDS.items()
        if asked[field] not in (None, (), settings.get("default"))
    ]


def file_options(asked: Mapping[str, Any], **others: Any) -> FileOptions:
    """Return what was asked of a file.

    Args:
        asked: the options by their names.
        others: further fields.

    Raises:
        UsageError: something is missing, or two options contradict each other.
    """
    from experiments.uplift.options import FileOptions

    for name in ("variant", "control", "outcome"):
        if asked[name] is None:
            raise click.UsageError(f"Missing option '--{name}'.")
    chosen = {field: asked[field] for field in FIELDS}
    chosen["attributes"] = [name for text in asked["attributes"] for name in _names(text)]
    if asked["all_but"] is not None:
        if chosen["attributes"]:
            raise click.UsageError("give --attribute or --all-but, not both")
        chosen["all_but"] = _names(asked["all_but"])
    return FileOptions(**chosen, **others)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
