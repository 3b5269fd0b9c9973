"""What deciding needs to know, as it travels: the wire model of a snapshot.

Every plan is self-contained: an `ExperimentPlan` carries its layer slot, its holdouts and the attributes it reads, so
one experiment can be decided, explained or written as SQL without the rest. Shares are decimal text (``"0.35"``),
never floating point; times are whole microseconds since 1970-01-01 UTC.

A field that changes who gets what must not be ignored by an older reader. So each new one comes with a feature name in
``requires``: a reader that does not know the name refuses that experiment.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FORMAT = 1
"""Version of the document's outer shape. A reader refuses a document with a higher one."""

FEATURES: frozenset[str] = frozenset({"bandit", "offer_by"})
"""Names in ``requires`` that this version understands. Format 1 is understood without naming anything."""

AttributeType = Literal["string", "number", "boolean", "date", "list"]
ExperimentState = Literal["draft", "review", "testing", "running", "paused", "ended", "decided"]


class AttributePlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attribute that an experiment reads, and the one place its value comes from."""

    type: AttributeType
    kept: Literal["stored", "request"] = "stored"
    """``stored`` in the member state, or sent with the ``request``; the other place is never looked at."""


class VariantPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """One variant. Its weight stands in each phase, because a phase is a period with one split."""

    key: str
    offer: dict[str, Any] | None = None
    """What the variant gives, as the caller will receive it; ``None`` gives nothing."""
    offer_by: str | None = None
    """Attribute that holds the key of each unit's own offer, instead of ``offer``; it is among the experiment's
    ``frozen``. Comes with the feature of this name."""
    offers: dict[str, dict[str, Any]] = {}
    """What the keys of ``offer_by`` stand for. A unit whose attribute is missing, empty or another key gets nothing."""


class PhasePlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A period with one split."""

    number: int
    """1, 2, 3 …"""
    salt: str
    """16 random hex digits. Digits 1–13 of a unit's digest under it choose the variant, 14–26 pass the gate."""
    weights: tuple[int, ...]
    """Integer parts, one for each of the experiment's variants, in their order."""
    traffic: str = "1"
    """Share of the audience that is enrolled."""
    opened: Literal["keep", "reassign"] = "reassign"
    """What happened to members enrolled before: they ``keep`` variant and phase, or everybody is drawn again."""


class LayerPlan(msgspec.Struct, frozen=True):
    """The experiment's place in its layer: units whose 13 digits under the layer's salt lie in one of the slots."""

    key: str
    salt: str
    slots: tuple[tuple[str, str], ...]
    """Half-open ranges of [0, 1), such as ``("0", "0.5")``."""


class HoldoutPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A control group that is in no experiment of its scope: digits 1–13 under its own salt lie below ``share``."""

    key: str
    salt: str
    share: str
    scope: Literal["global", "scoped"] = "global"


class PolicyPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version of a policy that members meet."""

    version: int
    sha256: str
    """Of its file, see `allocation.bandits.policy`."""
    share: str = "1"
    """Share of the members, of those the versions after it leave, that it draws for."""


class BanditPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a policy that learns draws (``allocation: bandit``).

    Salts are made from the phase's: the policy draws under ``phase.salt + ":policy"``, the control group under
    ``":uniform"``, a version's share under ``":ramp"``.
    """

    policies: tuple[PolicyPlan, ...] = ()
    """The live version, which has share 1, and then the one that is being ramped up, whose share is asked first.
    Without any, every eligible variant has the same probability: a cold start."""
    control_share: str = "0"
    control_split: Literal["uniform", "weights"] = "uniform"
    explore: str = "0.02"
    min_shares: dict[str, str] = {}
    """Variant → least probability where it is eligible."""
    eligible: dict[str, dict[str, Any]] = {}
    """Variant → rule (`allocation.audience`) of who may get it; unknown is no."""
    masked: tuple[str, ...] = ()
    """Variants that were taken out, by a guardrail or by hand."""
    forced: dict[str, str] = {}
    """New variant → least probability until there is enough to learn from."""
    features: tuple[str, ...] = ()
    """Attributes that policies may read; all are among the experiment's ``frozen``."""


class ExperimentPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that deciding needs about one experiment.

    >>> plan = ExperimentPlan(
    ...     key="winback", revision=3, state="running",
    ...     variants=(VariantPlan("control"), VariantPlan("a", {"key": "coupon-20"})),
    ...     phases=(PhasePlan(1, "00c0ffee00c0ffee", (1, 1)),))
    >>> plan.phase.number, plan.needs
    (1, 'none')
    """

    key: str
    revision: int
    state: ExperimentState
    variants: tuple[VariantPlan, ...]
    """All variants of all phases; one that a phase does not use has weight 0 there."""
    phases: tuple[PhasePlan, ...]
    """In order; the last one enrols."""
    unit_type: str = "member"
    start: int | None = None
    """First microsecond of the schedule."""
    end: int | None = None
    """First microsecond after it."""
    audience: dict[str, Any] | None = None
    """A rule (`allocation.audience`); ``None`` is everybody."""
    attributes: dict[str, AttributePlan] = {}
    """Those that ``audience`` and ``frozen`` name."""
    frozen: tuple[str, ...] = ()
    """Attributes written into the log at decision, for reports by stage, tier …"""
    sticky: bool = False
    """An enrolled member keeps its variant when the audience stops matching."""
    layer: LayerPlan | None = None
    holdouts: tuple[HoldoutPlan, ...] = ()
    """Global and scoped ones that apply, already chosen."""
    overrides: dict[str, str] = {}
    """Unit → variant, for testers; never analysed."""
    excluded: tuple[str, ...] = ()
    """Units of this experiment's unit type that take no part: staff, bots."""
    allocation: str = "hash"
    """How a variant is drawn. Any other kind comes with its feature in ``requires``."""
    control: str = "control"
    """The variant that whoever is not enrolled is shown where an answer must name one. Decides nothing."""
    bandit: BanditPlan | None = None
    """How the policy draws, for ``allocation: bandit``, which comes with the feature of that name."""
    requires: tuple[str, ...] = ()

    @property
    def phase(self) -> PhasePlan:
        """The phase that enrols."""
        return self.phases[-1]

    @property
    def kept_phases(self) -> frozenset[int]:
        """Numbers of the phases whose members keep what they have: back to the last one that drew everybody again."""
        numbers = []
        for phase in reversed(self.phases):
            numbers.append(phase.number)
            if phase.opened == "reassign":
                break
        return frozenset(numbers)

    @property
    def needs(self) -> Literal["none", "attributes", "enrolment"]:
        """What of the member state this experiment reads.

        ``none`` is the fast path: the hash and the request alone. ``attributes`` reads stored attributes. ``enrolment``
        reads past enrolments (and attributes) too: sticky or paused experiments and those with a phase that keeps. A
        policy draws anew for each occasion, whatever was drawn before.
        """
        keeps = self.allocation == "hash" and (self.sticky or len(self.kept_phases) > 1)
        if keeps or self.state == "paused":
            return "enrolment"
        if any(attribute.kept == "stored" for attribute in self.attributes.values()):
            return "attributes"
        return "none"


class ProjectPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the door must know of the project while the database is away. It decides nothing of who gets what."""

    currency: str
    """ISO 4217 code in which amounts come."""
    minor_digits: int = 2
    """Decimal places of that currency: 2 for CNY, 0 for JPY."""
    allow_personal_ids: bool = False
    """Whether unit ids that look like an e-mail address or a telephone number are taken."""
    stored: dict[str, AttributeType] = {}
    """The attributes kept for members: those that may be reported about them."""


class KeyPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """An API key as the door checks it: never the secret, only what verifies it."""

    selector: str
    """Names the key in lists and logs; not secret."""
    verifier: str
    """64 hex digits: SHA-256 of the secret."""
    name: str
    scopes: tuple[str, ...]
    """Of ``decide``, ``ingest``, ``report``, ``manage``."""
    source: str = ""
    """What events that come with this key carry as their source; empty: the caller may say, else the key's name."""
    ack: Literal["spool", "store", "none"] = "spool"
    """When a request is answered: its rows are on this node's disk, in the database, or merely taken."""
    expires_at: int | None = None
    """First microsecond at which the key no longer works."""


class SecurityPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who may ask. Travels with the snapshot, so that it holds while the database is away and after a restart."""

    required: bool = False
    """Whether requests need a key: once the first was made, for ever."""
    keys: tuple[KeyPlan, ...] = ()
    """Those that are neither revoked nor expired when published, by selector."""


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One published state of everything that decides. `allocation.snapshot` writes, reads and compiles it."""

    version: str
    effective_at: int
    """Microsecond from which it decides; it is published a little ahead, so that all nodes swap together."""
    experiments: dict[str, ExperimentPlan] = {}
    excluded: dict[str, tuple[str, ...]] = {}
    """Unit type → units that take part in no experiment of the project."""
    format: int = FORMAT
    requires: tuple[str, ...] = ()
    """Features that every experiment of this document needs."""
    project: ProjectPlan | None = None
    """``None`` while no project is defined."""
    security: SecurityPlan = SecurityPlan()
    refused: dict[str, str] = {}
    """Experiment → why this reader cannot decide it. Made by `parse`, never written."""
