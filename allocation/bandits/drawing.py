"""How a policy draws: control group, version, probabilities, floor, and the draw from exactly what is logged.

    eligible → group → version → x → probabilities → floor → hash

Every question to the hash has a salt of its own, made from the phase's: ``:uniform`` puts a unit into the control
group, ``:ramp`` gives it to the version that is being ramped up, ``:policy:OCCASION`` draws its variant. So a unit
stays in its group and with its version, and is drawn anew for each occasion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec

from allocation.audience import Predicate, compile_python, parse
from allocation.bandits.encoding import Value
from allocation.bandits.policy import Policy
from allocation.bandits.probabilities import floor
from allocation.compiled import CompiledPhase, Hashing, Outcome, PlanError, Policies, begin, share, upper_text
from allocation.hashing import DIGITS, SPACE, bound
from allocation.plan import BanditPlan, ExperimentPlan, PolicyPlan

_encode = msgspec.json.encode


class Drawn(msgspec.Struct, frozen=True):
    """How one decision was drawn: the log's column ``policy``, as a JSON object of these keys in this order."""

    version: int
    """0 where no version drew: at a cold start, and in the control group."""
    group: str
    """``policy``, or ``uniform``: the control group."""
    eligible: tuple[str, ...]
    """In the order of the experiment's variants."""
    p: list[float]
    """Their probabilities: what was drawn from."""
    x: Sequence[Value] = ()
    """What the version made of the attributes."""


class _Version(msgspec.Struct, frozen=True):
    """A version that draws for some members."""

    number: int
    policy: Policy
    below: str | None
    """Upper bound of its members' digits under the ramp's salt; ``None`` for all."""
    places: tuple[int | None, ...]
    """Index of each of the experiment's variants among the policy's; ``None`` for one it does not know."""
    alike: bool
    """Whether these are the same indices: the usual case, which needs no translation."""


class BanditDraw:
    """The drawing function of one experiment, see `allocation.compiled.Draw`.

    Args:
        plan: the experiment, with ``bandit``.
        phase: its current phase.
        policies: finds a policy by the SHA-256 of its file.

    Raises:
        PlanError: the plan contradicts itself or its policies.
        RuleError: a rule of eligibility is wrong.

    >>> from allocation.plan import PhasePlan, VariantPlan
    >>> from allocation.compiled import compile_experiment
    >>> plan = ExperimentPlan("x", 1, "running", (VariantPlan("control"), VariantPlan("a")),
    ...                       (PhasePlan(1, "00c0ffee00c0ffee", (1, 1)),), allocation="bandit", bandit=BanditPlan())
    >>> outcome = compile_experiment(plan).draw("", "m-1", "", {}, 0)
    >>> outcome.variant, outcome.propensity
    ('control', 0.5)
    >>> outcome.policy
    '{"version":0,"group":"policy","eligible":["control","a"],"p":[0.5,0.5],"x":[]}'
    """

    def __init__(self, plan: ExperimentPlan, phase: CompiledPhase, policies: Policies | None) -> None:
        bandit = _checked(plan)
        keys = [variant.key for variant in plan.variants]
        weights = plan.phase.weights
        salt = plan.phase.salt
        self._plan = plan
        self._phase = phase
        self._keys = keys
        self._weights = [float(weight) for weight in weights]
        self._offered = tuple(
            place for place, key in enumerate(keys) if weights[place] > 0 and key not in bandit.masked
        )
        self._offered_keys = tuple(keys[place] for place in self._offered)
        types = {name: attribute.type for name, attribute in plan.attributes.items()}
        self._rules: dict[int, Predicate] = {
            keys.index(key): compile_python(parse(rule, types)) for key, rule in bandit.eligible.items()
        }
        self._control = begin(f"{salt}:uniform")
        self._control_below = upper_text(bound(share(bandit.control_share, "share of the control group")))
        self._by_weight = bandit.control_split == "weights"
        self._ramp = begin(f"{salt}:ramp")
        self._salt = f"{salt}:policy:"
        self._occasions: tuple[str, Hashing] = ("", begin(self._salt))
        self._versions = tuple(self._version(policy, policies) for policy in reversed(bandit.policies))
        self._explore = float(share(bandit.explore, "explore"))
        least = [
            max(share(kind.get(key, "0"), f"least share of {key}") for kind in (bandit.min_shares, bandit.forced))
            for key in keys
        ]
        self._least = [float(value) for value in least] if any(least) else None
        self._fallback = keys.index(plan.control) if plan.control in keys else 0

    def __call__(self, digest: str, unit: str, occasion: str, attributes: Mapping[str, Any], now: int) -> Outcome:  # noqa: ARG002 - the digest is the hash's
        """Draw for one member."""
        raw = unit.encode()
        eligible, group, version = self._who(raw, attributes, now)
        p, x = self._probabilities(eligible, group, version, attributes)
        known, hashing = self._occasions
        if occasion != known:
            # Most decisions that follow each other are for one occasion.
            hashing = begin(self._salt + occasion)
            self._occasions = (occasion, hashing)
        hashed = hashing()
        hashed.update(raw)
        left = int(hashed.hexdigest()[:DIGITS], 16) / SPACE
        last = len(p) - 1
        place = 0
        while place < last and left >= p[place]:
            left -= p[place]
            place += 1
        while p[place] == 0.0:  # what rounding left over belongs to nobody who cannot be drawn
            place -= 1
        key = self._keys[eligible[place]]
        number = 0 if version is None else version.number
        keys = self._offered_keys if eligible is self._offered else tuple([self._keys[k] for k in eligible])
        drawn = Drawn(number, group, keys, p, x)
        given = self._phase.outcomes[key]
        return Outcome(key, given.offer, p[place], _encode(drawn).decode(), given.own)

    def describe(self, unit: str, occasion: str, attributes: Mapping[str, Any], now: int) -> dict[str, Any]:
        """Return what a member's draw comes from, for an explanation."""
        outcome = self("", unit, occasion, attributes, now)
        eligible, _, version = self._who(unit.encode(), attributes, now)
        bandit = self._plan.bandit
        detail: dict[str, Any] = {"variant": outcome.variant, "propensity": outcome.propensity}
        detail.update(msgspec.json.decode(outcome.policy or "{}"))
        masked = () if bandit is None else bandit.masked
        detail.update(masked=list(masked), explore=self._explore)
        if self._least is not None:
            detail["least"] = {key: least for key, least in zip(self._keys, self._least, strict=True) if least}
        if version is not None:
            scores, p = version.policy.scorer.scores_and_probabilities(
                version.policy.encode(attributes), _known(version, eligible)
            )
            keys = [self._keys[k] for k in eligible if version.places[k] is not None]
            detail.update(
                rule=version.policy.rule,
                attributes={code.attribute: attributes.get(code.attribute) for code in version.policy.encoder.features},
                scores=dict(zip(version.policy.variants, scores, strict=True)),
                before_floor=dict(zip(keys, p, strict=True)),
            )
        return detail

    def _who(self, raw: bytes, attributes: Mapping[str, Any], now: int) -> tuple[tuple[int, ...], str, _Version | None]:
        """Return the eligible variants, the member's group, and the version that draws for it."""
        eligible = self._offered
        if self._rules:
            rules = self._rules
            eligible = tuple([k for k in eligible if k not in rules or rules[k](attributes, now)])
        group = "policy"
        if self._control_below != _NOBODY:
            hashed = self._control()
            hashed.update(raw)
            if hashed.hexdigest() < self._control_below:
                group = "uniform"
        if not eligible:
            return (self._fallback,), group, None
        if group == "uniform":
            return eligible, group, None
        for version in self._versions:
            if version.below is None:
                return eligible, group, version
            hashed = self._ramp()
            hashed.update(raw)
            if hashed.hexdigest() < version.below:
                return eligible, group, version
        return eligible, group, None

    def _probabilities(
        self, eligible: tuple[int, ...], group: str, version: _Version | None, attributes: Mapping[str, Any]
    ) -> tuple[list[float], Sequence[Value]]:
        count = len(eligible)
        if group == "uniform":
            if not self._by_weight or count == 1:
                return [1.0 / count] * count, ()
            total = sum(self._weights[k] for k in eligible)
            return [self._weights[k] / total for k in eligible], ()
        x: Sequence[Value] = ()
        if version is None:
            p = [1.0 / count] * count
        else:
            x = version.policy.encode(attributes)
            p = _spread(version, eligible, x)
        least = self._least
        return floor(p, self._explore, None if least is None else [least[k] for k in eligible]), x

    def _version(self, plan: PolicyPlan, policies: Policies | None) -> _Version:
        if policies is None:
            raise PlanError(f"version {plan.version} of its policy is not at hand here; decide through the service")
        policy = policies(plan.sha256)
        part = share(plan.share, f"share of version {plan.version}")
        places = {key: place for place, key in enumerate(policy.variants)}
        if not places.keys() & set(self._keys):
            raise PlanError(f"version {plan.version} of its policy knows none of the variants; learn another")
        unread = sorted({code.attribute for code in policy.encoder.features} - self._plan.attributes.keys())
        if unread:
            raise PlanError(f"version {plan.version} of its policy reads {', '.join(unread)}, which is not declared")
        policy.scorer  # noqa: B018 - made now, not while the first member waits
        return _Version(
            plan.version,
            policy,
            None if part == 1 else upper_text(bound(part)),
            tuple(places.get(key) for key in self._keys),
            tuple(self._keys) == policy.variants,
        )


_NOBODY = upper_text(bound(Fraction(0)))


def _checked(plan: ExperimentPlan) -> BanditPlan:
    bandit = plan.bandit
    if bandit is None:
        raise PlanError("it draws by a policy, and nothing says how; publish it again")
    keys = {variant.key for variant in plan.variants}
    strangers = sorted({*bandit.min_shares, *bandit.eligible, *bandit.masked, *bandit.forced} - keys)
    if strangers:
        raise PlanError(f"its policy names {', '.join(strangers)}, which is no variant")
    return bandit


def _known(version: _Version, eligible: tuple[int, ...]) -> list[int]:
    return [place for k in eligible if (place := version.places[k]) is not None]


def _spread(version: _Version, eligible: tuple[int, ...], x: Sequence[Value]) -> list[float]:
    """Return the version's probabilities; a variant that it does not know has none of its own, only the floor's."""
    if version.alike:
        return version.policy.probabilities(x, eligible)
    known = _known(version, eligible)
    if len(known) == len(eligible):
        return version.policy.probabilities(x, known)
    if not known:
        return [1.0 / len(eligible)] * len(eligible)
    found = iter(version.policy.probabilities(x, known))
    return [0.0 if version.places[k] is None else next(found) for k in eligible]
