"""A snapshot made ready for deciding: rules as functions, shares as digit text, salts as hashes begun.

Bounds are kept as the 13-digit text that hex digits are compared with. As text compares, a whole digest is below a
bound exactly when the integer of its first 13 digits is: where those are equal, the longer text is the greater one. A
bound of 2**52 has no such text and becomes one above every digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from allocation.audience import Predicate, Rule, RuleError, compile_python, parse
from allocation.hashing import SPACE, bound, bounds, hex_bound
from allocation.offers import Offer, OfferBy, offer_of, own_of
from allocation.plan import ExperimentPlan, LayerPlan, PhasePlan, Snapshot

if TYPE_CHECKING:
    from allocation.bandits.policy import Policy

EVER = 1 << 63
"""Later than every time in microseconds that a signed 64-bit column holds."""

NO_UPPER = "g"
"""Text above every hex digit, standing for the bound 2**52."""


class PlanError(ValueError):
    """A plan that cannot be decided; the message says what is wrong with it."""


class Outcome(msgspec.Struct, frozen=True):
    """What a draw can come out as."""

    variant: str
    offer: Offer | None
    propensity: float | None
    """``None`` for a variant that the phase gives no weight: only overrides and earlier enrolments lead there."""
    policy: str | None = None
    """JSON object of how a policy drew; ``None`` where the hash did."""
    own: OfferBy | None = None
    """Where each unit has its own offer; ``offer`` is then ``None``."""

    def given(self, view: Mapping[str, Any]) -> Offer | None:
        """Return what a unit with these attributes is given."""
        return self.offer if self.own is None else self.own.of(view)


Draw = Callable[[str, str, str, Mapping[str, Any], int], Outcome]
"""Takes (digest under the phase's salt, unit, occasion, attributes, now) and returns an outcome with its propensity."""
Describe = Callable[[str, str, Mapping[str, Any], int], dict[str, Any]]
"""Takes (unit, occasion, attributes, now) and returns what a draw comes from, for explanations."""
Policies = Callable[[str], "Policy"]
"""Takes the SHA-256 of a policy's file and returns the policy."""


Hashing = Callable[[], Any]
"""Returns a sha256 that has read a beginning: copying one costs less than reading the beginning again."""


class CompiledPhase(msgspec.Struct, frozen=True):
    """A phase ready for drawing, and for members who keep what they were given in it."""

    number: int
    identity: Hashing
    """Begins the hash of a decision's identity, up to the unit."""
    outcomes: dict[str, Outcome]


class CompiledHoldout(msgspec.Struct, frozen=True):
    """One holdout: units whose digest under its salt is below ``below``."""

    key: str
    hashing: Hashing
    below: str
    share: str
    """The same as people write it."""


class CompiledLayer(msgspec.Struct, frozen=True):
    """The experiment's slots in its layer, as half-open ranges of digit text."""

    key: str
    hashing: Hashing
    slots: tuple[tuple[str, str], ...]
    shares: tuple[tuple[str, str], ...]
    """The same as people write them."""


class CompiledExperiment(msgspec.Struct, frozen=True):
    """One experiment ready for `allocation.decide`."""

    plan: ExperimentPlan
    key: str
    revision: int
    unit_type: str
    snapshot: str
    closed: str | None
    """The reason nobody gets anything, whatever the time; the experiment then never opens."""
    opens: int
    closes: int
    testing: bool
    paused: bool
    sticky: bool
    needs: Literal["none", "attributes", "enrolment"]
    needs_state: bool
    needs_enrolment: bool
    overrides: dict[str, str]
    excluded: frozenset[str]
    listed: bool
    """Whether overrides, the exclusion list or testing can matter at all."""
    rule: Rule | None
    audience: Predicate | None
    reads: Literal["nothing", "request", "stored", "both"]
    stored: tuple[str, ...]
    frozen: tuple[str, ...]
    holdouts: tuple[CompiledHoldout, ...]
    layer: CompiledLayer | None
    phase: CompiledPhase
    kept: dict[int, CompiledPhase]
    """Phases whose members keep what they have."""
    hashing: Hashing
    """Begins the hash under the phase's salt."""
    traffic: str
    uppers: tuple[str, ...]
    """Upper bounds of the variants' ranges as digit text, without those at 2**52."""
    outcomes: tuple[Outcome, ...]
    """One for each range: what the hash draws is ``outcomes[bisect_right(uppers, digest)]``."""
    control: Outcome
    """What whoever is not enrolled is shown where an answer must name a variant."""
    draw: Draw | None
    """A policy's way of drawing; ``None`` draws by the hash, which `allocation.decide` has written out."""
    describe: Describe | None
    """What such a draw comes from, where it can say so."""


class CompiledSnapshot(msgspec.Struct, frozen=True):
    """Everything that deciding needs, compiled."""

    version: str
    effective_at: int
    experiments: dict[str, CompiledExperiment]
    refused: dict[str, str]
    """Experiment → why this node does not decide it."""
    source: Snapshot


def begin(salt: str) -> Hashing:
    """Return a function that begins a unit's hash under a salt, with ``salt + ":"`` already read."""
    return hashlib.sha256(f"{salt}:".encode()).copy


def upper_text(value: int) -> str:
    """Return the text of an upper bound; 2**52 becomes a text above every digest.

    >>> upper_text(2**51), upper_text(2**52)
    ('8000000000000', 'g')
    """
    return NO_UPPER if value == SPACE else hex_bound(value)


def share(text: str, what: str) -> Fraction:
    """Read a share such as ``"0.35"`` or ``"1/3"`` exactly.

    Raises:
        PlanError: naming ``what`` when the text is not a number from 0 to 1.
    """
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise PlanError(f'{what} is "{text}"; write a decimal number from 0 to 1') from None
    if not 0 <= value <= 1:
        raise PlanError(f"{what} is {text}; it must lie from 0 to 1")
    return value


def compile_snapshot(snapshot: Snapshot, policies: Policies | None = None) -> CompiledSnapshot:
    """Compile every experiment. One that cannot be decided is refused by name, with the reason, and spoils no other.

    Args:
        snapshot: what was published.
        policies: finds the policies that it names; without it, experiments that have some are refused. What it raises
            beside `PlanError` and `RuleError` ends the compiling.

    >>> compile_snapshot(Snapshot(version="v1", effective_at=0)).experiments
    {}
    """
    refused = dict(snapshot.refused)
    experiments = {}
    for key, plan in snapshot.experiments.items():
        try:
            experiments[key] = compile_experiment(
                plan,
                version=snapshot.version,
                excluded=snapshot.excluded.get(plan.unit_type, ()),
                policies=policies,
            )
        except (PlanError, RuleError) as error:
            refused[key] = str(error)
    return CompiledSnapshot(
        version=snapshot.version,
        effective_at=snapshot.effective_at,
        experiments=experiments,
        refused=refused,
        source=snapshot,
    )


def compile_experiment(
    plan: ExperimentPlan,
    *,
    version: str = "",
    excluded: tuple[str, ...] = (),
    policies: Policies | None = None,
) -> CompiledExperiment:
    """Compile one experiment.

    Args:
        plan: the experiment.
        version: of the snapshot, written into each decision.
        excluded: units that the whole project leaves out, of the experiment's unit type.
        policies: finds the policies that it draws by.

    Raises:
        PlanError: when the plan contradicts itself.
        RuleError: when its audience rule is wrong.
    """
    _check(plan)
    rule = None
    if plan.audience is not None:
        rule = parse(plan.audience, {name: attribute.type for name, attribute in plan.attributes.items()})
    eligible = () if plan.bandit is None else plan.bandit.eligible.values()
    ruled = {name for other in eligible for name in parse(other).attributes}
    read = {*(rule.attributes if rule else ()), *plan.frozen, *ruled}
    stored = tuple(sorted(name for name in read if plan.attributes[name].kept == "stored"))
    phases = {phase.number: _phase(plan, phase) for phase in plan.phases}
    current = phases[plan.phase.number]
    closed = {"draft": "not_running", "review": "not_running", "ended": "ended", "decided": "ended"}.get(plan.state)
    testing = plan.state == "testing"
    maker = ALLOCATIONS[plan.allocation]
    draw = None if maker is None else maker(plan, current, policies)
    # Whatever is not below an earlier bound belongs to the first variant that ends at 2**52.
    uppers = tuple(upper_text(value) for value in bounds(plan.phase.weights) if value < SPACE)
    left_out = frozenset((*excluded, *plan.excluded))
    return CompiledExperiment(
        plan=plan,
        key=plan.key,
        revision=plan.revision,
        unit_type=plan.unit_type,
        snapshot=version,
        closed=closed,
        # A test before the start, or after the end, is what testing is for.
        opens=EVER if closed else -EVER if plan.start is None or testing else plan.start,
        closes=EVER if plan.end is None or testing else plan.end,
        testing=testing,
        paused=plan.state == "paused",
        # A policy draws anew for each occasion: nobody keeps what an earlier draw gave.
        sticky=plan.sticky and draw is None,
        needs=plan.needs,
        needs_state=plan.needs != "none",
        needs_enrolment=plan.needs == "enrolment",
        overrides=dict(plan.overrides),
        excluded=left_out,
        listed=testing or bool(plan.overrides or left_out),
        rule=rule,
        audience=None if rule is None else compile_python(rule),
        reads=("both" if len(stored) < len(read) else "stored") if stored else ("request" if read else "nothing"),
        stored=stored,
        frozen=plan.frozen,
        holdouts=tuple(
            CompiledHoldout(
                h.key, begin(h.salt), upper_text(bound(share(h.share, f"share of holdout {h.key}"))), h.share
            )
            for h in plan.holdouts
        ),
        layer=None if plan.layer is None else _layer(plan.layer),
        phase=current,
        kept={number: phases[number] for number in plan.kept_phases if draw is None},
        hashing=begin(plan.phase.salt),
        traffic=upper_text(bound(share(plan.phase.traffic, "traffic"))),
        uppers=uppers,
        outcomes=tuple(current.outcomes.values())[: len(uppers) + 1],
        control=current.outcomes.get(plan.control) or next(iter(current.outcomes.values())),
        draw=draw,
        describe=getattr(draw, "describe", None),
    )


def _check(plan: ExperimentPlan) -> None:
    keys = [variant.key for variant in plan.variants]
    if not keys or len(set(keys)) < len(keys):
        raise PlanError("variants must have different keys, and there must be one")
    if not plan.phases or len({phase.number for phase in plan.phases}) < len(plan.phases):
        raise PlanError("phases must have different numbers, and there must be one")
    for phase in plan.phases:
        if len(phase.weights) != len(keys):
            raise PlanError(f"phase {phase.number} has {len(phase.weights)} weights for {len(keys)} variants")
    if plan.allocation not in ALLOCATIONS:
        raise PlanError(f'allocation "{plan.allocation}" is not known to this version; upgrade this node')
    strangers = sorted(set(plan.overrides.values()) - set(keys))
    if strangers:
        raise PlanError(f"overrides name {', '.join(strangers)}, which is no variant")
    for variant in plan.variants:
        if variant.offer_by is not None and (variant.offer is not None or variant.offer_by not in plan.frozen):
            raise PlanError(f"variant {variant.key} gives offers by an attribute that is not frozen, or gives one too")
    undeclared = sorted(set(plan.frozen) - plan.attributes.keys())
    if undeclared:
        raise PlanError(f"frozen attributes {', '.join(undeclared)} are not declared")


def _phase(plan: ExperimentPlan, phase: PhasePlan) -> CompiledPhase:
    total = sum(phase.weights)
    if total <= 0 or min(phase.weights) < 0:
        raise PlanError(f"weights of phase {phase.number} must be whole numbers of at least 0, one of them positive")
    head = msgspec.json.encode([plan.key, phase.number, plan.unit_type])[:-1] + b","
    return CompiledPhase(
        number=phase.number,
        identity=hashlib.sha256(head).copy,
        outcomes={
            variant.key: Outcome(
                variant.key, offer_of(variant.offer), weight / total if weight else None, own=own_of(variant)
            )
            for variant, weight in zip(plan.variants, phase.weights, strict=True)
        },
    )


def _layer(layer: LayerPlan) -> CompiledLayer:
    slots = []
    for low, high in layer.slots:
        ends = (bound(share(low, f"slot of layer {layer.key}")), bound(share(high, f"slot of layer {layer.key}")))
        if ends[0] > ends[1]:
            raise PlanError(f"slot [{low}, {high}) of layer {layer.key} ends before it begins")
        if ends[0] < ends[1]:
            slots.append((upper_text(ends[0]), upper_text(ends[1])))
    return CompiledLayer(layer.key, begin(layer.salt), tuple(slots), layer.slots)


def _bandit(plan: ExperimentPlan, phase: CompiledPhase, policies: Policies | None) -> Draw:
    from allocation.bandits.drawing import BanditDraw  # numpy is loaded where a policy draws, and nowhere else

    return BanditDraw(plan, phase, policies)


Maker = Callable[[ExperimentPlan, CompiledPhase, Policies | None], Draw]
ALLOCATIONS: dict[str, Maker | None] = {"hash": None, "bandit": _bandit}
"""How a variant can be drawn: kind → maker of the drawing function, ``None`` for the ranges of the hash. A further kind
becomes one more entry, with its feature name in `allocation.plan.FEATURES`."""
