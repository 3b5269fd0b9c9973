"""The latest state of an object as an aggregate: the value that its last event carried."""

from __future__ import annotations

from functools import cache
from typing import Any

SPAN = 1 << 63
"""Wider than any value that breaks a tie; DuckDB multiplies by it in 128 bits."""


def latest(value: Any, at: Any, when: Any) -> Any:
    """Return ``value`` of the row with the largest ``at`` among rows where ``when`` holds and there is a value.

    Two sources may state an object at the very same moment: then the larger value counts, so that the answer does not
    depend on the order of rows. (On engines other than DuckDB such ties are left to the engine.)
    """
    import ibis

    chosen = ibis.ifelse(when, value, ibis.null(value.type()))
    if value.get_backend().name != "duckdb":
        return chosen.argmax(ibis.ifelse(chosen.notnull(), at, ibis.null("int64")))
    # Ibis would print FIRST(… ORDER BY …), which takes twice as long.
    return _arg_max(value.type())(chosen, _key(at, chosen))


def _key(at: Any, value: Any) -> Any:
    """Return what rows are ordered by: one number where possible, for such a state can leave memory when it is full."""
    import ibis

    if value.type().is_string():
        return ibis.struct({"at": at.cast("int64"), "value": value})
    tie = value if value.type().is_integer() else (value * 100).round()
    return at.cast("int64") * ibis.literal(SPAN, type="uint64") + tie.cast("int64")


@cache
def _arg_max(value_type: Any) -> Any:
    import ibis
    import ibis.expr.datatypes as dt

    def arg_max(value: Any, key: Any) -> Any:
        """DuckDB's own aggregate; only its name and types matter."""

    key_type = dt.Struct({"at": dt.int64, "value": value_type}) if value_type.is_string() else dt.int64
    return ibis.udf.agg.builtin(arg_max, name="arg_max", signature=((value_type, key_type), value_type))
