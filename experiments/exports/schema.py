"""The columns of exported files, their types and what they mean; docs/exports.md says the same, and a test holds it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

VERSION = 1
"""Grows when a column changes its meaning or goes; a new column at the end does not change it."""

MOMENT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    type: pa.DataType
    meaning: str
    optional: bool = False
    """Whether it may be null."""


def _column(name: str, type_: pa.DataType, meaning: str, *, optional: bool = False) -> Column:
    return Column(name, type_, meaning, optional)


TEXT, WHOLE, NUMBER, TRUTH = pa.string(), pa.int64(), pa.float64(), pa.bool_()

DECISIONS = (
    _column("decision_id", TEXT, "Natural key; repeated on outcomes where known"),
    _column("experiment", TEXT, "Key of the experiment"),
    _column("revision", WHOLE, "Revision of the experiment that decided"),
    _column("phase", WHOLE, "Phase of the experiment, from 1"),
    _column("unit_type", TEXT, "What was randomised: `member` …"),
    _column("unit", TEXT, "Its id, as it was sent"),
    _column("occasion", TEXT, "What the decision is for; empty: once per phase"),
    _column("kind", TEXT, "`enrolled`, `holdout` or `override`"),
    _column("variant", TEXT, "Variant; null for a held-out unit", optional=True),
    _column("reason", TEXT, "Why, as `explain` names it"),
    _column("propensity", NUMBER, "Probability with which the variant was drawn", optional=True),
    _column("at", MOMENT, "When it was decided; its UTC day names the file"),
    _column("frozen", TEXT, "JSON object of the attributes frozen for breakdowns"),
    _column("holdout", TEXT, "Holdout that the unit is in", optional=True),
    _column("snapshot", TEXT, "Version of the snapshot that decided"),
    _column("source", TEXT, "Who asked: `decide`, `ofrep`, `ofrep:bulk`, `list:JOB`, `import:NAME`"),
    _column("send_at", MOMENT, "When the message is scheduled to leave", optional=True),
    _column("policy", TEXT, "JSON object of how a policy drew, see bandits.md; null where the hash did", optional=True),
)

EVENTS = (
    _column("source", TEXT, "Who sent it; part of the natural key"),
    _column("day", pa.date32(), "UTC day of the event's own time as stated; part of the natural key; names the file"),
    _column("event_id", TEXT, "Its id; part of the natural key"),
    _column("name", TEXT, "What happened: `Order Completed` …"),
    _column("unit_type", TEXT, "What it happened to: `member` …"),
    _column("unit", TEXT, "Its id, as it was sent"),
    _column("at", MOMENT, "When it happened"),
    _column("received_at", MOMENT, "When it arrived"),
    _column("object_id", TEXT, "What it is about, such as the order", optional=True),
    _column("value_minor", WHOLE, "Value in minor units of the currency", optional=True),
    _column("currency", TEXT, "ISO 4217", optional=True),
    _column("decision_id", TEXT, "The decision it follows, where the sender knew it", optional=True),
    _column("experiment", TEXT, "The experiment it is about, where the sender knew it", optional=True),
    _column("properties", TEXT, "JSON object of everything else that was kept"),
    _column("stated_at", MOMENT, "What the sender's clock said, where `at` was corrected for it", optional=True),
)

REPORTS = (
    _column("experiment", TEXT, "Key of the experiment"),
    _column("number", WHOLE, "Number of the report, from 1; with experiment, metric and variant the natural key"),
    _column("phase", WHOLE, "Phase it is about"),
    _column("computed_at", MOMENT, "When it was computed; its UTC day names the file"),
    _column("content_hash", TEXT, "SHA-256 of the report's content"),
    _column("reading", TEXT, "What to do: `roll_out`, `stop_harm`, `stop_no_effect`, `keep_running`, `do_not_read`",
            optional=True),
    _column("reading_variant", TEXT, "The variant that the reading speaks of", optional=True),
    _column("srm_status", TEXT, "Sample ratio check: `ok`, `caution`, `fail` or `info`"),
    _column("srm_p_value", NUMBER, "Its p-value", optional=True),
    _column("assigned", WHOLE, "Units assigned"),
    _column("analysed", WHOLE, "Units analysed"),
    _column("metric", TEXT, "Key of the metric"),
    _column("role", TEXT, "`primary`, `secondary` or `guardrail`"),
    _column("unit", TEXT, "What its figures are: `share`, `count`, `money` (major units) or `number`"),
    _column("currency", TEXT, "ISO 4217, of money", optional=True),
    _column("control", TEXT, "The variant that is compared with"),
    _column("variant", TEXT, "The variant that is compared"),
    _column("n_control", WHOLE, "Units of control", optional=True),
    _column("n", WHOLE, "Units of the variant", optional=True),
    _column("mean_control", NUMBER, "Mean of control", optional=True),
    _column("mean", NUMBER, "Mean of the variant", optional=True),
    _column("effect", NUMBER, "Difference of means, variant less control", optional=True),
    _column("effect_ci_low", NUMBER, "Lower bound, unadjusted", optional=True),
    _column("effect_ci_high", NUMBER, "Upper bound, unadjusted", optional=True),
    _column("effect_ci_low_adjusted", NUMBER, "Lower bound, adjusted for multiplicity", optional=True),
    _column("effect_ci_high_adjusted", NUMBER, "Upper bound, adjusted for multiplicity", optional=True),
    _column("relative", NUMBER, "Effect as a share of control's mean", optional=True),
    _column("relative_ci_low", NUMBER, "Lower bound, unadjusted", optional=True),
    _column("relative_ci_high", NUMBER, "Upper bound, unadjusted", optional=True),
    _column("relative_ci_low_adjusted", NUMBER, "Lower bound, adjusted", optional=True),
    _column("relative_ci_high_adjusted", NUMBER, "Upper bound, adjusted", optional=True),
    _column("p_value", NUMBER, "Two-sided, unadjusted", optional=True),
    _column("p_value_adjusted", NUMBER, "Adjusted for multiplicity", optional=True),
    _column("comparison", TEXT, "`better`, `worse`, `unclear`, `within_limit`, `not_proven`, `broken`, `not_computed`"),
    _column("readable", TRUTH, "False while a check of quality forbids reading the effect"),
    _column("why", TEXT, "Why something is missing or not readable", optional=True),
    _column("method", TEXT, "How it was computed"),
)  # fmt: skip

TABLES: dict[str, tuple[Column, ...]] = {"decisions": DECISIONS, "events": EVENTS, "reports": REPORTS}


def arrow_schema(table: str) -> pa.Schema:
    """Return the schema of a table's files.

    >>> arrow_schema("decisions").field("at").type
    TimestampType(timestamp[us, tz=UTC])
    """
    fields = [pa.field(column.name, column.type, nullable=column.optional) for column in TABLES[table]]
    return pa.schema(fields, metadata={"equipoise.table": table, "equipoise.schema": str(VERSION)})


def markdown(table: str) -> str:
    """Return the columns of a table as docs/exports.md shows them."""
    rows = [f"| `{column.name}` | {_type_name(column)} | {column.meaning} |" for column in TABLES[table]]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])


def _type_name(column: Column) -> str:
    name = "timestamp (µs, UTC)" if column.type == MOMENT else str(column.type)
    return f"{name}, may be null" if column.optional else name
