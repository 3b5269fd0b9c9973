"""An experiment as people write it: question, population, variants, metrics, and what was decided before launch."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from experiments.definitions.allocation import Allocation
from experiments.definitions.analysis import Analysis
from experiments.definitions.base import (
    Count,
    Instant,
    Key,
    Margin,
    Model,
    Name,
    Salt,
    Share,
    Text,
    VariantKey,
    refuse,
    unit_list,
)
from experiments.definitions.segment import Rule

MAX_VARIANTS = 10
MAX_OVERRIDES = 100_000


def _unit_map(value: Any) -> Any:
    if isinstance(value, dict):
        unit_list(list(value))
    return value


class Variant(Model):
    """One arm; its weight is a whole number of parts."""

    key: VariantKey
    name: Text | None = None
    weight: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 1
    offer: Key | None = None
    offer_by: Name | None = None
    """Attribute that holds the key of each member's own offer (a recommendation that is put to the test); a member for
    whom it is missing or empty gets none."""
    channel: Name | None = None
    """How members of this arm are contacted; priced by the offer's ``contact_cost``."""

    @model_validator(mode="after")
    def _one_way_to_an_offer(self) -> Variant:
        if self.offer is not None and self.offer_by is not None:
            refuse("variant", [(("offer_by",), "stands beside offer; a variant gives one offer, or each member's own")])
        return self


class LayerPlace(Model):
    """Which slots of a layer the experiment takes: half-open shares of the layer's space."""

    key: Key
    slots: tuple[tuple[Share, Share], ...] = Field(default=(("0", "1"),), min_length=1, max_length=100)

    @model_validator(mode="after")
    def _slots_are_ranges(self) -> LayerPlace:
        end = Fraction(-1)
        for index, (low, high) in sorted(enumerate(self.slots), key=lambda item: Fraction(item[1][0])):
            if Fraction(low) >= Fraction(high):
                refuse("layer", [(("slots", index), f'[{low}, {high}) is empty; write ["0", "0.5"]')])
            if Fraction(low) < end:
                refuse("layer", [(("slots", index), f"[{low}, {high}) overlaps another slot; make them disjoint")])
            end = Fraction(high)
        return self


class Guardrail(Model):
    """A metric that must not get worse by more than ``margin`` of control's mean."""

    metric: Key
    margin: Margin = "0.05"


class MetricPlan(Model):
    """Which metrics decide, which inform, which must not break."""

    primary: tuple[Key, ...] = Field(min_length=1, max_length=10)
    secondary: tuple[Key, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()

    def keys(self) -> tuple[str, ...]:
        """Return every metric's key: primary, guardrails, secondary."""
        return (*self.primary, *(guardrail.metric for guardrail in self.guardrails), *self.secondary)

    @model_validator(mode="after")
    def _each_once(self) -> MetricPlan:
        seen: set[str] = set()
        places: list[tuple[tuple[str | int, ...], str]] = [(("primary", i), k) for i, k in enumerate(self.primary)]
        places += [(("secondary", i), k) for i, k in enumerate(self.secondary)]
        places += [(("guardrails", i, "metric"), g.metric) for i, g in enumerate(self.guardrails)]
        for loc, key in places:
            if key in seen:
                refuse("metrics", [(loc, f'"{key}" is listed twice; give each metric one role')])
            seen.add(key)
        return self


class Schedule(Model):
    """From when to when units are enrolled; outside it a running experiment answers ``not_started`` or ``ended``."""

    start: Instant | None = None
    end: Instant | None = None

    @model_validator(mode="after")
    def _ends_after_start(self) -> Schedule:
        if self.start and self.end and self.end <= self.start:
            refuse("schedule", [(("end",), "is not after start")])
        return self


class PhaseRecord(Model):
    """A phase as the service made it; written by ``equipoise export``, never by hand."""

    phase: Count
    salt: Salt
    carry: Literal["start", "keep", "reassign"]
    traffic: Share
    weights: dict[VariantKey, Annotated[int, Field(strict=True, ge=0)]]
    opened_at: Instant
    closed_at: Instant | None = None


class Made(Model):
    """What the service made: the salt and the phases, carried along so that another environment assigns alike."""

    salt: Salt
    phases: tuple[PhaseRecord, ...] = ()


class Experiment(Model):
    """One experiment definition.

    >>> arms = [{"key": "control"}, {"key": "a"}]
    >>> plan = {"primary": ["repurchase-14d"]}
    >>> e = Experiment(kind="experiment", key="x", name="X", variants=arms, control="control", metrics=plan)
    >>> e.traffic, e.enrolment, e.split()
    ('1', 'once', {'control': 1, 'a': 1})
    """

    kind: Literal["experiment"]
    key: Key
    name: Text
    hypothesis: Text | None = None
    description: Text | None = None
    owner: Name | None = None
    unit_type: Name = "member"
    enrolment: Literal["once", "rolling"] = "once"
    """``once``: a list, one send. ``rolling``: units enter over time."""
    sticky: Literal["enrolment", "none"] | None = None
    """By default ``enrolment`` when the audience uses an attribute that an offer can change, else ``none``."""
    population: Literal["assigned", "exposed"] | None = None
    """Who counts. Left out: the assigned; but the exposed where apps evaluate everything at start and show little."""
    exposure_event: Name = "Experiment Viewed"
    """Event that says the unit really met its variant (``population: exposed``)."""
    windows_start: Literal["decision", "send"] = "decision"
    """From when outcomes of an assigned unit count: its decision; or its send, and for who was not sent to the time
    that the send was scheduled for."""
    send_event: Name = "Message Sent"
    """Event that says that the message left (``windows_start: send``)."""
    segment: Key | None = None
    """A shared audience; with ``audience`` too, both must hold."""
    audience: Rule | None = None
    breakdowns: tuple[Name, ...] = Field(default=(), max_length=20)
    """Attributes frozen at decision and used in reports."""
    layer: LayerPlace | None = None
    holdouts: tuple[Key, ...] | None = None
    """By default every holdout whose scope covers the experiment; a list narrows it, ``[]`` is none."""
    traffic: Share = "1"
    """Share of the audience that is enrolled."""
    variants: tuple[Variant, ...] = Field(min_length=2, max_length=MAX_VARIANTS)
    control: VariantKey
    """What the others are compared with; by default the variant whose key is ``control``."""
    on_split_change: Literal["keep", "reassign"] = "keep"
    """When the split changes while running: enrolled members stay, or everyone is assigned anew under a new salt."""
    metrics: MetricPlan
    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.05
    overrides: Annotated[dict[str, VariantKey], BeforeValidator(_unit_map)] = Field(
        default_factory=dict, max_length=MAX_OVERRIDES
    )
    """Unit → variant, for testers; left out of the analysis."""
    exclude: Annotated[tuple[str, ...], BeforeValidator(unit_list)] = Field(default=(), max_length=MAX_OVERRIDES)
    """Units that are never enrolled: staff, bots."""
    schedule: Schedule = Schedule()
    planned_units: Count | None = None
    planned_days: Count | None = None
    no_effect_within: Margin | None = None
    """Relative effect so small that "no effect" is the answer when the interval lies inside it."""
    analysis: Analysis = Analysis()
    """How it is judged; what is left out is chosen from the rest."""
    allocation: Allocation | None = None
    """A policy that learns draws the variants; by default the hash does, by their weights."""
    made: Made | None = None

    @model_validator(mode="before")
    @classmethod
    def _control_by_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "control" not in value and isinstance(value.get("variants"), list):
            keys = [variant.get("key") for variant in value["variants"] if isinstance(variant, dict)]
            if "control" in keys:
                return {**value, "control": "control"}
        return value

    @model_validator(mode="after")
    def _hangs_together(self) -> Experiment:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        keys: list[str] = []
        for index, variant in enumerate(self.variants):
            if variant.key in keys:
                problems.append((("variants", index, "key"), f'"{variant.key}" stands twice; rename one'))
            keys.append(variant.key)
        if self.control not in keys:
            problems.append((("control",), f'"{self.control}" is not a variant; {_one_of(keys)}'))
        elif not self.split()[self.control]:
            problems.append((("control",), "control has weight 0, so nothing could be compared; give it a weight"))
        if sum(variant.weight > 0 for variant in self.variants) < 2:
            problems.append((("variants",), "fewer than two variants have a weight above 0; give two a weight"))
        if self.windows_start == "send" and self.population == "exposed":
            message = "windows of an exposed population start at the exposure; leave windows_start out, or use assigned"
            problems.append((("windows_start",), message))
        if self.analysis.switchback and self.analysis.inference is None and self.enrolment == "rolling":
            problems.append((("analysis", "inference"), "is missing; a switchback is read at its end: write fixed"))
        if self.analysis.inference == "group_sequential" and not self.planned_units:
            message = "is missing; inference: group_sequential spends alpha on the way to a planned sample"
            problems.append((("planned_units",), message))
        problems += self._factors_name_variants(keys)
        problems += self._allocation_fits(keys)
        problems += [
            (("overrides", unit), f'"{variant_key}" is not a variant; {_one_of(keys)}')
            for unit, variant_key in self.overrides.items()
            if variant_key not in keys
        ]
        if problems:
            refuse("experiment", problems)
        return self

    def _factors_name_variants(self, keys: list[str]) -> list[tuple[tuple[str | int, ...], str]]:
        problems: list[tuple[tuple[str | int, ...], str]] = []
        for index, factor in enumerate(self.analysis.factors):
            place = ("analysis", "factors", index, "levels")
            if missing := [key for key in keys if key not in factor.levels]:
                problems.append((place, f"does not say the level of {', '.join(missing)}; give each variant 0 or 1"))
            problems += [
                ((*place, key), f'"{key}" is not a variant; {_one_of(keys)}')
                for key in factor.levels
                if key not in keys
            ]
        return problems

    def _allocation_fits(self, keys: list[str]) -> list[tuple[tuple[str | int, ...], str]]:
        if self.allocation is None:
            return []
        problems: list[tuple[tuple[str | int, ...], str]] = [
            (("allocation", field, key), f'"{key}" is not a variant; {_one_of(keys)}')
            for field in ("min_share", "eligible")
            for key in getattr(self.allocation, field)
            if key not in keys
        ]
        metric = self.allocation.reward.metric
        if metric is not None and metric not in self.metrics.keys():  # noqa: SIM118 - a method of the plan
            message = f'"{metric}" is not among the experiment\'s metrics; {_one_of(list(self.metrics.keys()))}'
            problems.append((("allocation", "reward", "metric"), message))
        if self.population == "exposed":
            problems.append((("population",), "of a policy that learns is the assigned; leave it out"))
        problems += [
            (("variants", index, "offer_by"), "does not go with a policy that learns; test one of the two at a time")
            for index, variant in enumerate(self.variants)
            if variant.offer_by is not None
        ]
        if self.sticky == "enrolment":
            problems.append((("sticky",), "does not belong to a policy that learns, which draws anew; write none"))
        return problems

    @property
    def frozen(self) -> tuple[str, ...]:
        """Attributes that a decision keeps as they were: breakdowns, strata, clusters, what is learned from, offers."""
        cluster = (self.analysis.cluster,) if self.analysis.cluster else ()
        learned = self.allocation.attributes if self.allocation else ()
        offers = tuple(variant.offer_by for variant in self.variants if variant.offer_by is not None)
        named = (*self.breakdowns, *self.analysis.strata, *cluster, *self.analysis.features, *learned, *offers)
        return tuple(dict.fromkeys(named))

    @property
    def by_member(self) -> dict[str, str]:
        """Variant → attribute, of the variants that give each member its own offer."""
        return {variant.key: variant.offer_by for variant in self.variants if variant.offer_by is not None}

    @property
    def gives_offers(self) -> bool:
        """Whether any variant gives an offer."""
        return any(variant.offer is not None or variant.offer_by is not None for variant in self.variants)

    def split(self) -> dict[str, int]:
        """Return each variant's weight by key, in order."""
        return {variant.key: variant.weight for variant in self.variants}

    def variant(self, key: str) -> Variant:
        """Return the variant with this key.

        Raises:
            KeyError: when there is none.
        """
        for variant in self.variants:
            if variant.key == key:
                return variant
        raise KeyError(key)


def _one_of(keys: list[str]) -> str:
    return "use one of " + ", ".join(keys)
