"""The steps of a decision in words: what `allocation.explain` wrote down, a sentence for each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from allocation import Step
from allocation.hashing import DIGITS, SPACE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sentence(step: Step) -> str:
    """Return one step in words.

    >>> sentence(Step("traffic", False, {"digits": "8000000000000", "share": "0.35"}))
    'at 0.5000, not below the enrolled share 0.35'
    """
    return _WORDS[step.name](step.goes_on, step.detail)


def place(digits: str) -> str:
    """Return 13 hex digits as a number from 0 to 1.

    >>> place("c000000000000")
    '0.7500'
    """
    return f"{int(digits[:DIGITS], 16) / SPACE:.4f}"


def instant(us: int) -> str:
    """Return microseconds since 1970 UTC as ISO text.

    >>> instant(1_772_000_000_000_000)
    '2026-02-25T06:13:20Z'
    """
    return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")


def _running(goes_on: bool | None, detail: dict[str, Any]) -> str:
    words = f"the experiment is {detail['state']}"
    if detail["start"] is not None:
        words += f", from {instant(detail['start'])}"
    if detail["end"] is not None:
        words += f", until {instant(detail['end'])}"
    return words if goes_on else f"{words}: not now"


def _opt_out(_goes_on: bool | None, detail: dict[str, Any]) -> str:
    if detail["opted_out"]:
        return "opted out of personalisation"
    return "not opted out" if detail["state_given"] else "nothing is known of an opt-out"


def _override(goes_on: bool | None, detail: dict[str, Any]) -> str:
    if goes_on is None:
        return f"on the allow-list for {detail['variant']}; left out of the analysis"
    return "not on the allow-list" + ("" if goes_on else ", and the experiment is only being tested")


def _exclusion(goes_on: bool | None, _detail: dict[str, Any]) -> str:
    return "not on an exclusion list" if goes_on else "on the exclusion list of the project or the experiment"


def _enrolment(goes_on: bool | None, detail: dict[str, Any]) -> str:
    found = detail["enrolment"]
    if found is None and not detail["state_known"]:
        return "it is not known whether the unit is enrolled" + ("" if goes_on else ", and a pause takes nobody new")
    if found is None:
        return "not enrolled yet" + ("" if goes_on else ", and a pause takes nobody new")
    words = f"enrolled in {found.variant} (phase {found.phase}) since {instant(found.since)}"
    if detail["linked"]:
        words += f", the first of its {detail['linked'] + 1} ids"
    if goes_on is None:
        return f"{words}, and keeps it"
    if found.phase not in detail["kept_phases"]:
        return f"{words}, which a later phase has closed"
    return words


def _audience(goes_on: bool | None, detail: dict[str, Any]) -> str:
    days = detail["days"]
    told = {name: f" ({days[name]} times 24 hours ago)" if name in days else "" for name in detail["attributes"]}
    held = detail["attributes"].items()
    seen = ", ".join(f"{name} = {value!r}{told[name]}" for name, value in held) or "no attributes"
    if goes_on:
        return f"the rule holds with {seen}"
    if detail["missing"] is not None:
        return f"the rule cannot be answered without a usable {detail['missing']} (known: {seen})"
    return f"the rule does not hold with {seen}"


def _kept(_goes_on: bool | None, detail: dict[str, Any]) -> str:
    return f"enrolled before, in phase {detail['phase']}: keeps {detail['variant']}"


def _holdout(goes_on: bool | None, detail: dict[str, Any]) -> str:
    side = "not in it" if goes_on else "held out"
    return f"{detail['holdout']}, a share of {detail['share']}: at {place(detail['digits'])}, {side}"


def _layer(goes_on: bool | None, detail: dict[str, Any]) -> str:
    slots = " or ".join(f"[{low}, {high})" for low, high in detail["slots"])
    return f"{detail['layer']}: at {place(detail['digits'])}, {'in' if goes_on else 'outside'} {slots}"


def _traffic(goes_on: bool | None, detail: dict[str, Any]) -> str:
    return f"at {place(detail['digits'])}, {'' if goes_on else 'not '}below the enrolled share {detail['share']}"


def _variant(_goes_on: bool | None, detail: dict[str, Any]) -> str:
    if "group" in detail:
        return _policy(detail)
    split = " : ".join(f"{variant} {weight}" for variant, weight in detail["weights"].items())
    return f"at {place(detail['digits'])} of {split} → {detail['variant']}"


def _policy(detail: dict[str, Any]) -> str:
    """Return how a policy drew: who drew, from which probabilities, and what came out."""
    if detail["group"] == "uniform":
        who = "in the control group, for whom nothing is learned"
    elif detail["version"]:
        who = f"version {detail['version']} of the policy draws"
    else:
        who = "nothing is learned yet: every eligible variant is as likely"
    chances = ", ".join(f"{key} {p:.1%}" for key, p in zip(detail["eligible"], detail["p"], strict=True))
    out = f"; taken out: {', '.join(detail['masked'])}" if detail["masked"] else ""
    return f"{who}: {chances}{out} → {detail['variant']}"


def _offer(_goes_on: bool | None, detail: dict[str, Any]) -> str:
    name, value = detail["attribute"], detail["value"]
    if detail["given"]:
        return f"its own offer, by {name}: {detail['offer']}"
    if value is None or value == "":
        return f"its own offer, by {name}, which says none: it gets none"
    return f"its own offer, by {name}, which is {value!r}: no offer of the launch has that key, so it gets none"


def _refused(_goes_on: bool | None, detail: dict[str, Any]) -> str:
    return f"this node cannot decide it: {detail['why']}"


_WORDS: dict[str, Callable[[bool | None, dict[str, Any]], str]] = {
    "running": _running,
    "opt_out": _opt_out,
    "override": _override,
    "exclusion": _exclusion,
    "enrolment": _enrolment,
    "audience": _audience,
    "kept": _kept,
    "holdout": _holdout,
    "layer": _layer,
    "traffic": _traffic,
    "variant": _variant,
    "offer": _offer,
    "refused": _refused,
}
