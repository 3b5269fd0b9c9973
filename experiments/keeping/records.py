"""An experiment as the store knows it: its definition, where it stands, its phases, and what its launch froze."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from experiments.definitions import Experiment, Project
from experiments.definitions.standing import Standing
from experiments.lifecycle.states import State

Carry = Literal["start", "keep", "reassign"]


@dataclass(frozen=True)
class Phase:
    """A period with one split. A unit counts once, in the phase of its first decision."""

    number: int
    """1 is the first."""
    salt: str
    carry: Carry
    """What happened to those enrolled before: nobody was (``start``), they ``keep``, or all were drawn anew."""
    traffic: str
    """Share of the audience that is enrolled, as exact decimal text."""
    weights: Mapping[str, int]
    """Variant → parts, in the experiment's order."""
    opened_at: int
    """Microseconds since 1970 UTC."""
    closed_at: int | None = None


@dataclass(frozen=True)
class Pinned:
    """What launch froze: later changes of these definitions do not reach the running experiment."""

    currency: str
    time_zone: str
    sticky: bool
    holdouts: tuple[str, ...] = ()
    segment: int | None = None
    """Revision of the segment."""
    offers: Mapping[str, int] = field(default_factory=dict)
    """Offer key → revision."""
    metrics: Mapping[str, int] = field(default_factory=dict)
    """Metric key → revision."""
    standing: Standing | None = None
    """What members had off every order anyway, where the experiment gives offers."""

    def to_json(self) -> str:
        """Return canonical JSON.

        >>> Pinned.from_json(Pinned("CNY", "UTC", True).to_json()) == Pinned("CNY", "UTC", True)
        True
        """
        data = asdict(replace(self, standing=None))
        del data["standing"]
        if self.standing is not None:
            data["standing"] = self.standing.model_dump(mode="json")
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Pinned:
        """Read what :meth:`to_json` wrote."""
        data = json.loads(text)
        standing = None if data.get("standing") is None else Standing.model_validate(data["standing"])
        return cls(**{**data, "holdouts": tuple(data["holdouts"]), "standing": standing})


@dataclass(frozen=True)
class ExperimentRecord:
    """One experiment at one moment."""

    definition: Experiment
    revision: int
    version_id: int
    """Grows with every change, also of state; see ``StaleVersionError``."""
    state: State
    salt: str
    phases: tuple[Phase, ...]
    """Empty before the first launch."""
    pinned: Pinned | None
    """``None`` before the first launch."""
    created_at: int
    updated_at: int
    started_at: int | None = None
    """First time it ran."""
    paused_at: int | None = None
    """Since when it is paused; ``None`` when it is not."""
    ended_at: int | None = None
    decided_at: int | None = None

    @property
    def key(self) -> str:
        """The experiment's key."""
        return self.definition.key

    def standing(self, project: Project) -> Standing | None:
        """Return what members have off every order anyway: as launch froze it, before that as the project says."""
        if self.pinned is not None:
            return self.pinned.standing
        return project.standing if self.definition.gives_offers else None

    @property
    def phase(self) -> Phase | None:
        """The phase that enrols now; ``None`` before launch."""
        return self.phases[-1] if self.phases else None

    @property
    def kept_since(self) -> int:
        """Number of the first phase whose members keep what they have; 1 before launch."""
        for phase in reversed(self.phases):
            if phase.carry != "keep":
                return phase.number
        return 1
