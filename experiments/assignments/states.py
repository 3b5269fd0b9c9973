"""What is known of the members on a list, a chunk at a time: the same as every node knows, read in bulk.

It is the member file as published when the job begins, which stays open: all of the list is decided from one state.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from allocation.compiled import CompiledExperiment
from allocation.decision import Enrolment, MemberState
from experiments.publishing.members import MemberStates

# CROSS JOIN: the wanted are looked up one by one. Left to itself SQLite may read the file for each of them.
_MEMBERS = """SELECT m.unit, m.attributes, m.opted_out FROM json_each(?) wanted
    CROSS JOIN members m ON m.unit_type = ? AND m.unit = wanted.value"""
_ENROLMENTS = """SELECT e.unit, e.phase, e.variant, e.since FROM json_each(?) wanted
    CROSS JOIN enrolments e ON e.unit_type = ? AND e.unit = wanted.value AND e.experiment = ?"""
_LINKED = """SELECT i.unit FROM json_each(?) wanted
    CROSS JOIN identities i ON i.unit_type = ? AND i.unit = wanted.value"""
_attributes = msgspec.json.Decoder(dict[str, Any])


class ListStates:
    """Member states for one job."""

    def __init__(self, folder: Path, compiled: CompiledExperiment, now: int) -> None:
        """Open the current member file of a snapshot folder.

        Args:
            folder: the snapshot folder.
            compiled: the experiment that is decided.
            now: microseconds since 1970 UTC; attributes of a file that is too old are not looked at.
        """
        self._compiled = compiled
        self._states = MemberStates(folder)
        self._states.refresh(now)
        self._given: dict[str, Enrolment] = {}
        self._bulk: sqlite3.Connection | None = None
        manifest = self._states.manifest
        if manifest is not None:
            address = f"file:{quote(str((folder / manifest.file).absolute()))}?mode=ro&immutable=1"
            self._bulk = sqlite3.connect(address, uri=True, check_same_thread=False)
        self.too_old = manifest is not None and now - manifest.at > self._states.max_age_us

    @property
    def needed(self) -> bool:
        """Whether anything known of members can matter: an experiment may need nothing and nobody have opted out."""
        states = self._states
        return self._compiled.needs_state or not (states.nobody_opted_out and states.nobody_linked)

    def of(self, units: Sequence[str]) -> dict[str, MemberState]:
        """Return what is known of units; those that are not in the answer are members nobody knows anything of."""
        if self._bulk is None:
            return {}
        kind, wanted = self._compiled.unit_type, json.dumps(list(dict.fromkeys(units)), ensure_ascii=False)
        known = not self.too_old
        enrolments: dict[str, dict[str, Enrolment]] = {}
        if self._compiled.needs_enrolment:
            key = self._compiled.key
            for unit, phase, variant, since in self._bulk.execute(_ENROLMENTS, (wanted, kind, key)):
                enrolments[unit] = {key: Enrolment(phase, variant, since)}
        found: dict[str, MemberState] = {}
        for unit, attributes, out in self._bulk.execute(_MEMBERS, (wanted, kind)):
            held = _attributes.decode(attributes) if known else {}
            found[unit] = MemberState(held, enrolments.pop(unit, {}), bool(out), known)
        for unit, own in enrolments.items():
            found[unit] = MemberState({}, own, state_known=known)
        if not self._states.nobody_linked:
            for (unit,) in self._bulk.execute(_LINKED, (wanted, kind)):
                found[unit] = self._states.get(kind, unit)
        return found

    @property
    def unknown(self) -> MemberState:
        """The state of a member that the file does not have."""
        return MemberState(state_known=self._bulk is not None and not self.too_old)

    def with_given(self, unit: str, state: MemberState) -> MemberState:
        """Return the state of a unit with several ids, with what another of its ids was given on this list."""
        given = self._given.get(min(unit, *state.linked))
        if given is None or self._compiled.key in state.enrolments:
            return state
        return msgspec.structs.replace(state, enrolments={**state.enrolments, self._compiled.key: given})

    def remember(self, unit: str, state: MemberState, enrolment: Enrolment) -> None:
        """Remember what a unit with several ids was given."""
        self._given.setdefault(min(unit, *state.linked), enrolment)

    def forget(self) -> None:
        """Forget what units were given: the list is gone through anew."""
        self._given.clear()

    def close(self) -> None:
        """Close the file."""
        self._states.close()
        if self._bulk is not None:
            self._bulk.close()
