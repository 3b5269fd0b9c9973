"""Assign a whole file of members at once: the assignment's SQL, run by DuckDB, never a Python loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from allocation.compiled import CompiledExperiment, CompiledSnapshot
from allocation.decision import check_occasion
from allocation.dialects import DIALECTS
from allocation.plan import VariantPlan
from allocation.sql import INVALID_UNIT, assignment_sql, caveats, holdout_sql
from experiments import atomic
from experiments.assignments.assign_inspect import check_names, inspect
from experiments.assignments.assign_source import ENROLLED, SOURCE, Attribute, current_member_file, make_source
from experiments.errors import InputError, unknown_name
from experiments.list_files import format_of
from experiments.publishing.members import MAX_AGE_US

_DUCK = DIALECTS["duckdb"]
_text = _DUCK.literal
BACKSLASH = "\\"
QUOTE = '"'

COLUMNS = (
    "unit", "variant", "reason", "offer", "decision_id", "experiment", "revision", "phase", "unit_type", "occasion",
    "kind", "propensity", "at", "frozen", "holdout", "snapshot",
)  # fmt: skip
"""Columns of the answer. All but ``offer`` are those of the decision log, with the same values as `decide` gives."""


@dataclass(frozen=True)
class AssignResult:
    """What became of a file."""

    output: Path
    rows: int
    variants: dict[str, int]
    """Variant → rows."""
    reasons: dict[str, int]
    """Reason → rows."""
    bad_units: dict[str, int]
    """What is wrong with the unit id → rows. They are in the answer with reason ``invalid_unit`` and no variant."""
    unreadable: dict[str, int]
    """Attribute → values that are there but not of its type; they count as missing."""
    repeated: int = 0
    """Rows whose unit stands in an earlier row too; they get the same answer."""
    personal: int = 0
    """Unit ids that look like an e-mail address or a telephone number: no other door takes them."""
    caveats: list[str] = field(default_factory=list)
    """What could not be known, one sentence each."""


def find_experiment(snapshot: CompiledSnapshot, key: str) -> CompiledExperiment:
    """Return one experiment of a snapshot.

    Raises:
        InputError: naming the experiments there are, or why this one is refused.
    """
    if key in snapshot.refused:
        raise InputError(f"experiment {key!r} cannot be decided here: {snapshot.refused[key]}")
    if key not in snapshot.experiments:
        if not snapshot.experiments:
            raise InputError(f"no experiment {key!r}: the snapshot has none; launch one with equipoise transition")
        raise unknown_name("experiment", key, sorted(snapshot.experiments), "in the snapshot")
    return snapshot.experiments[key]


def assign_file(
    path: str | Path,
    output: str | Path,
    compiled: CompiledExperiment,
    *,
    now: int,
    unit_column: str | None = None,
    occasion: str = "",
    encoding: str | None = None,
    state_dir: Path | None = None,
    enrolled_only: bool = False,
) -> AssignResult:
    """Assign every row of a CSV (UTF-8, GB18030; plain or gzip) or Parquet file and write a Parquet or CSV file.

    Variants, reasons and identities are those that `allocation.decide` gives one by one. Attributes are columns of
    their own names; those declared ``stored``, opt-outs and enrolments come from the member file in ``state_dir`` where
    the file has no such column.

    Args:
        path: the list of members.
        output: ``.parquet`` or ``.csv``; written whole or not at all.
        compiled: the experiment.
        now: time of the decision, microseconds since 1970-01-01 UTC.
        unit_column: column of unit ids; guessed when there is one likely column.
        occasion: what the decisions are for (a send); part of their identity.
        encoding: of a CSV; found out when None.
        state_dir: the snapshot folder, which holds the member file.
        enrolled_only: write only rows with a variant.

    Raises:
        InputError: for files and columns that cannot be used, with what to do.
        OccasionError: for an unusable occasion.
    """
    from experiments.sources.file import first_line, open_file

    check_occasion(occasion)
    if compiled.draw is not None:
        raise InputError(
            f"{compiled.key} draws by a policy that learns from its own decisions: what it draws must be logged; "
            "use equipoise assign --log, or decide through the service"
        )
    target = Path(output)
    file_format = _format(target)
    atomic.spare(target, "--output", list=path)
    found = None if state_dir is None else current_member_file(state_dir)
    fresh = found is not None and now - found[1].at <= MAX_AGE_US
    use_state = fresh and compiled.needs_state
    # An opt-out is honoured however old it is, and by experiments that need nothing else of the member.
    member_file = found[0] if found is not None and (use_state or found[1].opted_out != 0) else None
    notes = []
    if compiled.needs_state and found is not None and not fresh:
        notes.append("The member file is more than 48 hours old; only its opt-outs were used: publish a new one.")
    with open_file(path, encoding=encoding) as source:
        import duckdb

        connection = source.connection.con
        try:
            check_names(source, compiled, unit_column)
            attributes = make_source(
                connection,
                compiled,
                table="equipoise_file",
                path=str(path),
                unit_column=unit_column,
                member_file=member_file,
                opt_outs_only=not use_state,
            )
            found_in = inspect(connection, attributes, str(path))
            query = answer_sql(compiled, attributes, now=now, occasion=occasion, enrolments=use_state)
            if enrolled_only:
                query = f"SELECT * FROM ({query}) WHERE variant IS NOT NULL"  # noqa: S608 - our own query
            try:
                with atomic.replacing(target) as temporary:
                    connection.execute(f"COPY ({query}) TO {_text(str(temporary))} ({file_format})")
                    counts = _counts(connection, temporary, file_format)
            except (duckdb.IOException, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else first_line(error).rsplit(": ", 1)[-1]
                raise InputError(f"--output {output}: cannot be written: {reason}") from error
        except duckdb.Error as error:
            raise InputError(f"{path}: cannot be read: {first_line(error)}") from error
    variants: dict[str, int] = {variant.key: 0 for variant in compiled.plan.variants}
    reasons: dict[str, int] = {}
    for variant, reason, rows in counts:
        if variant is not None:
            variants[variant] = variants.get(variant, 0) + rows
        reasons[reason] = reasons.get(reason, 0) + rows
    notes += caveats(compiled.plan, opted_out=found is not None or "opted_out" in source.columns, enrolments=use_state)
    return AssignResult(
        target,
        sum(reasons.values()),
        variants,
        reasons,
        found_in.bad_units,
        found_in.unreadable,
        found_in.repeated,
        found_in.personal,
        notes,
    )


def answer_sql(
    compiled: CompiledExperiment, attributes: list[Attribute], *, now: int, occasion: str, enrolments: bool
) -> str:
    """Return the DuckDB query over ``assign_source`` that gives `COLUMNS`."""
    plan = compiled.plan
    alias = {attribute.name: attribute.alias for attribute in attributes}
    carry = {"frozen": "m.frozen"}
    if enrolments and compiled.needs_enrolment:
        carry["kept_phase"] = "e.phase"
    query = assignment_sql(
        plan,
        "duckdb",
        table=SOURCE,
        now=now,
        excluded=tuple(compiled.excluded),
        opted_out="opted_out",
        enrolments=ENROLLED if enrolments else None,
        column=lambda name, _kind: f"m.{alias[name]}",
        carry=carry,
    )
    phase = str(compiled.phase.number)
    if "kept_phase" in carry:
        phase = f"CASE WHEN reason = 'kept' THEN kept_phase ELSE {phase} END"
    kind = "CASE WHEN reason IN ('holdout', 'override') THEN reason WHEN variant IS NOT NULL THEN 'enrolled' END"
    offers = {v.key: _text(msgspec.json.encode(v.offer).decode()) for v in plan.variants if v.offer is not None}
    offers |= {v.key: _own_offer(v) for v in plan.variants if v.offer_by is not None}
    constants = {
        "experiment": _text(plan.key),
        "revision": str(plan.revision),
        "unit_type": _text(plan.unit_type),
        "occasion": _text(occasion),
        "at": f"{now}::BIGINT",
        "snapshot": _text(compiled.snapshot),
    }
    identity = decision_id_sql(plan.key, "phase", plan.unit_type, "unit", occasion)
    computed = {
        "offer": _choose("variant", offers, "VARCHAR"),
        "decision_id": f"CASE WHEN kind IS NOT NULL THEN {identity} END",
        "propensity": f"CASE WHEN kind = 'enrolled' THEN {_propensity(compiled)} END",
        "frozen": "CASE WHEN kind IN ('enrolled', 'holdout') THEN frozen ELSE '{}' END",
        "holdout": f"CASE WHEN kind = 'holdout' THEN {holdout_sql(plan, 'duckdb')} END",
        **constants,
    }
    chosen = ", ".join(f"{computed[name]} AS {name}" if name in computed else name for name in COLUMNS)
    inner = f"SELECT *, {phase} AS phase, {kind} AS kind FROM (\n{query}\n)"  # noqa: S608 - our own query
    return f"SELECT {chosen} FROM ({inner})"  # noqa: S608 - our own query


def decision_id_sql(experiment: str, phase: str, unit_type: str, unit: str, occasion: str) -> str:
    """Return DuckDB SQL of `allocation.decision.decision_id`; ``phase`` and ``unit`` are expressions.

    >>> import duckdb
    >>> from allocation.decision import decision_id
    >>> query = "SELECT " + decision_id_sql("winback", "1", "member", "'m-1'", "")
    >>> duckdb.sql(query).fetchone()[0] == decision_id("winback", 1, "member", "m-1")
    True
    """
    head = _text("[" + msgspec.json.encode(experiment).decode() + ",")
    middle = _text("," + msgspec.json.encode(unit_type).decode() + ",")
    tail = _text("," + msgspec.json.encode(occasion).decode() + "]")
    return f"left(sha256({head} || {phase} || {middle} || {json_text_sql(unit)} || {tail}), 32)"


def json_text_sql(text: str) -> str:
    r"""Return DuckDB SQL that writes text as a JSON string just as the log does (``JSON.stringify``'s form).

    DuckDB's own ``to_json`` writes control characters with capital hex digits, which would hash differently.

    >>> import duckdb
    >>> print(duckdb.sql("SELECT " + json_text_sql("'a\"b' || chr(27)")).fetchone()[0])
    "a\"b\u001b"
    """
    escaped = f"replace(replace({text}, {_text(BACKSLASH)}, {_text(BACKSLASH * 2)}), '\"', {_text(BACKSLASH + QUOTE)})"
    for code in range(1, 32):
        short = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r"}.get(code, f"u{code:04x}")
        escaped = f"replace({escaped}, chr({code}), {_text(BACKSLASH + short)})"
    # Nearly no id needs escaping: one look instead of 33 replacements.
    plain = f"'\"' || {text} || '\"'"
    return f"CASE WHEN regexp_matches({text}, '[\\x01-\\x1f\"\\\\]') THEN '\"' || {escaped} || '\"' ELSE {plain} END"


def _format(target: Path) -> Literal["FORMAT parquet, COMPRESSION zstd", "FORMAT csv, HEADER"]:
    return "FORMAT parquet, COMPRESSION zstd" if format_of(target) == "parquet" else "FORMAT csv, HEADER"


def _counts(connection: Any, path: Path, file_format: str) -> list[tuple[str | None, str, int]]:
    reader = "read_parquet" if "parquet" in file_format else "read_csv"
    options = "" if reader == "read_parquet" else ", all_varchar=true, header=true"
    found: list[tuple[str | None, str, int]] = connection.execute(
        f"SELECT variant, reason, count(*) FROM {reader}({_text(str(path))}{options}) GROUP BY ALL"  # noqa: S608 - quoted
    ).fetchall()
    return found


def _choose(expression: str, values: dict[str, str], kind: str) -> str:
    if not values:
        return f"CAST(NULL AS {kind})"
    return f"CASE {expression} {' '.join(f'WHEN {_text(key)} THEN {value}' for key, value in values.items())} END"


def _own_offer(variant: VariantPlan) -> str:
    """Return SQL of the offer that a row's own attribute names."""
    from allocation.audience import json_columns

    given = {key: _text(msgspec.json.encode(offer).decode()) for key, offer in variant.offers.items()}
    return _choose(json_columns("duckdb", "frozen")(variant.offer_by or "", "string"), given, "VARCHAR")


def _propensity(compiled: CompiledExperiment) -> str:
    def of(number: int) -> str:
        outcomes = compiled.kept[number].outcomes
        return _choose(
            "variant",
            {key: "NULL" if o.propensity is None else f"{o.propensity!r}::DOUBLE" for key, o in outcomes.items()},
            "DOUBLE",
        )

    if len(compiled.kept) == 1:
        return of(compiled.phase.number)
    return f"CASE phase {' '.join(f'WHEN {number} THEN {of(number)}' for number in compiled.kept)} END"


def now_us() -> int:
    """Return the clock's microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


__all__ = ["COLUMNS", "INVALID_UNIT", "AssignResult", "answer_sql", "assign_file", "decision_id_sql", "find_experiment"]
