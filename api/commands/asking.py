"""What ``decide`` and ``explain`` ask with: the published snapshot, the member's state, attributes and a time."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from allocation import CompiledSnapshot, Decision, MemberState, OccasionError, UnitError, UnknownExperimentError
from api.cli import UserError

if TYPE_CHECKING:
    from allocation import Step
    from experiments.settings import Settings


class Question(msgspec.Struct, frozen=True):
    """Everything `allocation.decide` takes."""

    snapshot: CompiledSnapshot
    experiment: str
    unit: str
    now: int
    attributes: dict[str, Any]
    state: MemberState
    occasion: str


def question(
    obj: dict[str, Any], experiment: str, unit: str, attributes: str | None, now: str | None, occasion: str
) -> Question:
    """Gather what is asked with from the command line and the published files; the database is not touched.

    Raises:
        UserError: for options that cannot be read, and when nothing is published.
    """
    from experiments.publishing.members import MemberStates
    from experiments.publishing.snapshot_file import SnapshotFile, SnapshotMissingError
    from experiments.settings import Settings

    settings: Settings = Settings.from_env(data=obj["data"], database=obj["database"])
    at = instant(now) if now else time.time_ns() // 1000
    given = attributes_from(attributes)
    try:
        snapshot = SnapshotFile(settings.snapshot_dir).load(None if now else at)
    except SnapshotMissingError as error:
        raise UserError(str(error)) from error
    state = MemberState(state_known=False)
    plan = snapshot.experiments.get(experiment)
    if plan is not None:
        states = MemberStates(settings.snapshot_dir)
        states.refresh(at)
        state = states.get(plan.unit_type, unit) if _storable(unit) else state
        states.close()
        supposed = {name: given.pop(name) for name in plan.stored if name in given}
        if supposed:  # "what if": a stored attribute named on the command line stands in for the stored one
            state = msgspec.structs.replace(state, attributes={**state.attributes, **supposed}, state_known=True)
    return Question(snapshot, experiment, unit, at, given, state, occasion)


def answered(asked: Question) -> tuple[Decision, list[Step]]:
    """Return the decision and its steps.

    Raises:
        UserError: for an experiment that is not published, a unusable unit id or occasion.
    """
    from allocation import explain

    try:
        return explain(
            asked.snapshot,
            asked.experiment,
            asked.unit,
            now=asked.now,
            attributes=asked.attributes,
            state=asked.state,
            occasion=asked.occasion,
        )
    except (UnknownExperimentError, UnitError, OccasionError) as error:
        raise UserError(str(error)) from error


def as_json(answer: Decision) -> dict[str, Any]:
    """Return a decision as JSON data."""
    data: dict[str, Any] = msgspec.to_builtins(answer)
    data["frozen"] = json.loads(answer.frozen)
    return data


def attributes_from(text: str | None) -> dict[str, Any]:
    """Read ``--attributes``.

    >>> attributes_from('{"stage": "dormant"}')
    {'stage': 'dormant'}
    """
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise UserError(f'--attributes must be a JSON object such as \'{{"stage": "dormant"}}\': {error}') from None


def instant(text: str) -> int:
    """Read ``--now``: ISO text with an offset, as microseconds since 1970 UTC.

    >>> instant("1970-01-01T08:00:01+08:00")
    1000000
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f'--now "{text}" is no time; write one such as 2026-03-03T09:00:00+08:00') from None
    if moment.tzinfo is None:
        raise UserError(f'--now "{text}" names no time zone; add Z or an offset such as +08:00')
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _storable(unit: str) -> bool:
    """Whether the state's file can be asked for a unit; `allocation.decide` says what is wrong with another."""
    try:
        unit.encode()
    except UnicodeEncodeError:
        return False
    return True
