"""Assignment as SQL: the order of `allocation.decide`, written for the engine where the list of members lies.

Digests are compared as text in byte order and never converted to numbers. A digest of 64 digits is below a bound of 13
digits exactly when its first 13 digits are, because equal digits make the longer text the greater one; so the variant
needs no substring. Every digest is computed once, in a subquery of its own, and only for the rows that come that far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from allocation.audience import Resolver, plain_columns, to_sql
from allocation.compiled import NO_UPPER, CompiledExperiment, compile_experiment, upper_text
from allocation.dialects import Dialect, DialectError, dialect
from allocation.hashing import DIGITS, MAX_UNIT_BYTES, bounds
from allocation.plan import ExperimentPlan

__all__ = ["INVALID_UNIT", "DialectError", "assignment_sql", "caveats", "holdout_sql"]

INVALID_UNIT = "invalid_unit"
"""Reason of rows that `allocation.decide` refuses: no unit id, an empty one, more than 256 bytes, or a NUL in it."""


def assignment_sql(
    plan: ExperimentPlan,
    dialect_name: str,
    *,
    table: str = "members",
    unit_column: str = "unit",
    now: int | None = None,
    excluded: Sequence[str] = (),
    opted_out: str | None = None,
    enrolments: str | None = None,
    column: Resolver | None = None,
    carry: Mapping[str, str] | None = None,
) -> str:
    """Return a query that assigns every row of a table as `allocation.decide` does: columns unit, variant, reason.

    Args:
        plan: the experiment.
        dialect_name: one of `allocation.dialects.DIALECTS`.
        table: name of the table, with its schema where needed. Its attributes are columns of their own names.
        unit_column: its column of unit ids, which must be text.
        now: time of the decision, microseconds since 1970-01-01 UTC. Needed when the experiment has a schedule or its
            audience counts days.
        excluded: units that the whole project leaves out (``Snapshot.excluded`` of the unit type).
        opted_out: name of a boolean column: has the member opted out of personalisation?
        enrolments: name of a table (unit, phase, variant) of those who are enrolled already. Without it every unit is
            taken as a new member; `caveats` says what that leaves out.
        column: where attributes lie, see `allocation.audience.columns`; rows are those of alias ``m``.
        carry: further columns of the answer: name → expression over alias ``m``.

    Raises:
        DialectError: for what SQL, or this dialect, cannot express.
        PlanError: when the plan contradicts itself.

    >>> from allocation.plan import PhasePlan, VariantPlan
    >>> phase = PhasePlan(1, "c0ffee", weights=(1, 1))
    >>> plan = ExperimentPlan("x", 1, "running", (VariantPlan("control"), VariantPlan("a")), (phase,))
    >>> print(assignment_sql(plan, "duckdb"))
    SELECT unit,
      CASE WHEN stop IS NULL THEN CASE WHEN digest < '8000000000000' THEN 'control' ELSE 'a' END END AS variant,
      COALESCE(stop, 'assigned') AS reason
    FROM (
      SELECT unit, stop, CASE WHEN stop IS NULL THEN sha256('c0ffee:' || unit) END AS digest
      FROM (
        SELECT unit, CASE WHEN unit IS NULL OR strlen(unit) NOT BETWEEN 1 AND 256 OR contains(unit, chr(0)) THEN
          'invalid_unit' END AS stop
        FROM (SELECT m."unit" AS unit FROM "members" AS m) AS source
      ) AS stopped
    ) AS drawn
    """
    words = dialect(dialect_name)
    if plan.allocation != "hash":
        raise DialectError(
            f"{plan.key} draws its variants by {plan.allocation!r}, which SQL cannot; decide through the API"
        )
    compiled = compile_experiment(plan, excluded=tuple(excluded))
    query = _Query(words, plan, compiled, now)
    return query.write(
        table=words.identifier(table),
        unit=f"m.{words.column(unit_column)}",
        opted_out=None if opted_out is None else f"m.{words.column(opted_out)}",
        enrolments=None if enrolments is None else words.identifier(enrolments),
        column=column or plain_columns(dialect_name, qualifier="m"),
        carry=dict(carry or {}),
    )


def caveats(plan: ExperimentPlan, *, opted_out: bool = False, enrolments: bool = False) -> list[str]:
    """Return what a query for this experiment cannot know, one plain sentence each; empty when it knows everything.

    >>> from allocation.plan import PhasePlan, VariantPlan
    >>> plan = ExperimentPlan("x", 1, "running", (VariantPlan("a"),), (PhasePlan(1, "c0ffee", (1,)),), sticky=True)
    >>> caveats(plan, opted_out=True)
    ['Every unit is taken as a new member: enrolled members who would keep their variant are drawn like others.']
    """
    lines = []
    if not opted_out:
        lines.append("Members who opted out of personalisation are not known here: leave them out of the table.")
    if not enrolments and plan.needs == "enrolment":
        lines.append(
            "Every unit is taken as a new member: enrolled members who would keep their variant are drawn like others."
        )
    lines += [
        f"Members of {variant.key} get the offer whose key stands in their column {variant.offer_by}, or none."
        for variant in plan.variants
        if variant.offer_by is not None
    ]
    return lines


def holdout_sql(plan: ExperimentPlan, dialect_name: str) -> str:
    """Return an expression over ``unit`` for the key of the first holdout that the unit is in, NULL when in none.

    >>> from allocation.plan import HoldoutPlan, PhasePlan, VariantPlan
    >>> holdouts = (HoldoutPlan("winter", "c0ffee", "0.5"),)
    >>> plan = ExperimentPlan("x", 1, "running", (VariantPlan("a"),), (PhasePlan(1, "c0", (1,)),), holdouts=holdouts)
    >>> print(holdout_sql(plan, "duckdb"))
    CASE WHEN sha256('c0ffee:' || unit) < '8000000000000' THEN 'winter' END
    """
    query = _Query(dialect(dialect_name), plan, compile_experiment(plan), None)
    tests = [
        (f"{query.digest(holdout.salt)} < {query.words.literal(compiled.below)}", query.words.literal(holdout.key))
        for holdout, compiled in zip(plan.holdouts, query.compiled.holdouts, strict=True)
    ]
    return query.case(tests) if tests else "NULL"


class _Query:
    """One query in the making. ``stop`` is the reason a row goes no further; NULL while it goes on."""

    def __init__(self, words: Dialect, plan: ExperimentPlan, compiled: CompiledExperiment, now: int | None) -> None:
        self.words = words
        self.plan = plan
        self.compiled = compiled
        self.now = now

    def write(
        self,
        *,
        table: str,
        unit: str,
        opted_out: str | None,
        enrolments: str | None,
        column: Resolver,
        carry: dict[str, str],
    ) -> str:
        plan, compiled, words = self.plan, self.compiled, self.words
        kept = carry_kept = None
        source = f"{table} AS m"
        given = [f"{words.text.format(x=unit)} AS unit"]
        if enrolments is not None and compiled.needs_enrolment:
            numbers = ", ".join(str(number) for number in sorted(compiled.kept))
            keys = ", ".join(words.literal(variant.key) for variant in plan.variants)
            kept_variant = words.text.format(x="e.variant")
            given.append(f"CASE WHEN e.phase IN ({numbers}) AND {kept_variant} IN ({keys}) THEN e.variant END AS kept")
            source += f" LEFT JOIN {enrolments} AS e ON e.unit = {unit}"
            kept, carry_kept = "kept IS NOT NULL", "kept"
        if opted_out is not None:
            given.append(f"{opted_out} AS opted_out")
        # Without a table of enrolments a paused experiment answers "paused" to everybody, whatever the audience.
        rule = None if self.closed() or (compiled.paused and kept is None) else compiled.rule
        if rule is not None:
            given.append(f"{to_sql(rule, words.name, column=column, now=self.now)} AS inside")
        given += [f"{expression} AS {words.column(name)}" for name, expression in carry.items()]
        columns = ["unit", *([carry_kept] if carry_kept else []), *(words.column(name) for name in carry)]
        rows = f"(SELECT {', '.join(given)} FROM {source}{words.fence}) AS source"  # noqa: S608 - quoted above

        stops = self.stops(opted_out is not None, kept, rule is not None)
        layer = compiled.layer
        if layer is not None and len(layer.slots) > 1 and not self.closed():
            rows = self.level(columns, [f"{self.case(stops)} AS stop"], rows, "early")
            digest = self.digest(plan.layer.salt if plan.layer else "")
            rows = self.level(
                [*columns, "stop"], [f"CASE WHEN stop IS NULL THEN {digest} END AS place"], rows, "placed"
            )
            inside = " OR ".join(f"({self.within('place', low, high)})" for low, high in layer.slots)
            late = [("stop IS NOT NULL", "stop"), (f"NOT ({inside})", words.literal("other_slot"))]
            rows = self.level(columns, [f"{self.case(late)} AS stop"], rows, "stopped")
        else:
            if layer is not None and not self.closed() and layer.slots != (("0" * DIGITS, NO_UPPER),):
                digest = self.digest(plan.layer.salt if plan.layer else "")
                test = f"NOT ({self.within(digest, *layer.slots[0])})" if layer.slots else "TRUE"
                stops.append((test, words.literal("other_slot")))
            rows = self.level(columns, [f"{self.case(stops)} AS stop"], rows, "stopped")
        return self.draw(columns, rows, kept is not None)

    def level(self, columns: list[str], new: list[str], rows: str, name: str) -> str:
        inner = rows.replace("\n", "\n  ")
        chosen = ", ".join([*columns, *new])
        return f"(\n  SELECT {chosen}\n  FROM {inner}{self.words.fence}\n) AS {name}"  # noqa: S608 - all quoted

    def closed(self) -> bool:
        return self.shut() is not None or self.compiled.testing

    def shut(self) -> str | None:
        """Return the reason that holds for everybody, if there is one."""
        compiled = self.compiled
        if compiled.closed is not None:
            return compiled.closed
        if (self.plan.start is not None or self.plan.end is not None) and not compiled.testing:
            if self.now is None:
                raise DialectError(f"{self.plan.key} has a schedule, so SQL needs the time of the decision; give 'now'")
            if not compiled.opens <= self.now < compiled.closes:
                return "not_started" if self.now < compiled.opens else "ended"
        return None

    def stops(self, opted_out: bool, kept: str | None, inside: bool) -> list[tuple[str, str]]:
        """Return (condition, reason) in the order of `allocation.decide`, as far as the layer."""
        compiled, words = self.compiled, self.words
        text = words.literal
        invalid = f"unit IS NULL OR {words.octets.format(x='unit')} NOT BETWEEN 1 AND {MAX_UNIT_BYTES}"
        if words.has_nul:
            invalid += f" OR {words.has_nul.format(x='unit')}"
        stops = [(invalid, text(INVALID_UNIT))]
        everybody = self.shut()
        if everybody is not None:
            return [*stops, ("TRUE", text(everybody))]
        if opted_out:
            stops.append(("opted_out", text("opted_out")))
        if compiled.overrides:
            stops.append((self.listed(compiled.overrides), text("override")))
        if compiled.testing:
            return [*stops, ("TRUE", text("testing"))]
        if compiled.excluded:
            stops.append((self.listed(sorted(compiled.excluded)), text("excluded")))
        if compiled.needs_enrolment and kept and compiled.sticky:
            stops.append((kept, text("kept")))
        if compiled.paused:
            stops.append((f"NOT ({kept})" if kept else "TRUE", text("paused")))
        if inside:
            stops += [("inside IS NULL", text("missing_attribute")), ("NOT inside", text("not_in_audience"))]
        if kept and not compiled.sticky:
            stops.append((kept, text("kept")))
        stops += [
            (f"{self.digest(plan.salt)} < {text(holdout.below)}", text("holdout"))
            for plan, holdout in zip(self.plan.holdouts, compiled.holdouts, strict=True)
        ]
        return stops

    def draw(self, columns: list[str], rows: str, kept: bool) -> str:
        """Return the outer query: traffic, then the variant."""
        plan, compiled, words = self.plan, self.compiled, self.words
        carried = [name for name in columns if name not in ("unit", "kept")]
        choice = self.choice()
        traffic = compiled.traffic != NO_UPPER
        if (choice[0] or traffic) and not self.closed():
            # A row that stopped keeps NULL for a digest, so that nothing is hashed that nobody reads.
            digest = f"CASE WHEN stop IS NULL THEN {self.digest(plan.phase.salt)} END AS digest"
            rows = self.level([*columns, "stop"], [digest], rows, "drawn")
        if traffic and not self.closed():
            test = f"substr(digest, {DIGITS + 1}, {DIGITS}) >= {words.literal(compiled.traffic)}"
            late = [("stop IS NOT NULL", "stop"), (test, words.literal("not_in_traffic"))]
            rows = self.level([*columns, "digest"], [f"{self.case(late)} AS stop"], rows, "gated")
        cases = []
        if not self.closed():
            cases.append(("stop IS NULL", choice[1]))
        if compiled.overrides and self.shut() is None:
            units = [(f"unit = {words.literal(unit)}", words.literal(key)) for unit, key in compiled.overrides.items()]
            cases.append((f"stop = {words.literal('override')}", self.case(units)))
        if kept:
            cases.append((f"stop = {words.literal('kept')}", "kept"))
        variant = self.case(cases) if cases else "NULL"
        reason = "stop" if self.closed() else f"COALESCE(stop, {words.literal('assigned')})"
        further = "".join(f", {name}" for name in carried)
        return f"SELECT unit,\n  {variant} AS variant,\n  {reason} AS reason{further}\nFROM {rows}"

    def choice(self) -> tuple[bool, str]:
        """Return whether the variant depends on the digest, and the expression that chooses it."""
        words = self.words
        drawn = [
            (upper_text(upper), variant.key)
            for upper, variant, weight in zip(
                bounds(self.plan.phase.weights), self.plan.variants, self.plan.phase.weights, strict=True
            )
            if weight
        ]
        tests = [(f"digest < {words.literal(upper)}", words.literal(key)) for upper, key in drawn[:-1]]
        last = words.literal(drawn[-1][1])
        return bool(tests), self.case(tests, last) if tests else last

    def listed(self, units: Sequence[str] | Mapping[str, str]) -> str:
        return f"unit IN ({', '.join(self.words.literal(unit) for unit in units)})"

    def digest(self, salt: str) -> str:
        joined = self.words.join.format(v=self.words.literal(f"{salt}:"), x="unit")
        return self.words.sha256.format(x=joined)

    def within(self, digest: str, low: str, high: str) -> str:
        """Return the half-open test low ≤ digest < high. BETWEEN serves it, as no digest equals a text of 13 digits."""
        text = self.words.literal
        if high == NO_UPPER:
            return f"{digest} >= {text(low)}"
        if low == "0" * DIGITS:
            return f"{digest} < {text(high)}"
        return f"{digest} BETWEEN {text(low)} AND {text(high)}"

    def case(self, tests: Sequence[tuple[str, str]], otherwise: str | None = None) -> str:
        whens = " ".join(f"WHEN {test} THEN {value}" for test, value in tests)
        return f"CASE {whens}{'' if otherwise is None else f' ELSE {otherwise}'} END"
