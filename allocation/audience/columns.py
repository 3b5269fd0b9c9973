"""Where a rule's attributes lie in a table: a column for each, or one column of JSON.

A resolver takes an attribute's name and type and returns an SQL expression of the canonical value
(`allocation.dialects`), NULL where the attribute is missing or is not of its type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from allocation.audience.dates import DATE_PATTERN
from allocation.audience.rules import AttributeType
from allocation.dialects import Dialect, DialectError, dialect

Resolver = Callable[[str, AttributeType], str]


def plain_columns(dialect_name: str, names: Mapping[str, str] | None = None, *, qualifier: str = "") -> Resolver:
    """Return a resolver for a table with one column for each attribute, of a fitting SQL type.

    Text for ``string``, any numeric type for ``number``, boolean, a date or timestamp for ``date``, an array of text
    for ``list`` (in MySQL a JSON column).

    Args:
        dialect_name: one of `allocation.dialects.DIALECTS`.
        names: attribute → column where they differ.
        qualifier: alias of the table, put before each column.

    >>> plain_columns("postgres")("stage", "string")
    '"stage" COLLATE "C"'
    """
    words = dialect(dialect_name)

    def resolve(attribute: str, kind: AttributeType) -> str:
        column = words.column((names or {}).get(attribute, attribute))
        return canonical(words, f"{qualifier}.{column}" if qualifier else column, kind)

    return resolve


def canonical(words: Dialect, expression: str, kind: AttributeType) -> str:
    """Wrap a typed SQL expression so that it compares as the rule means it."""
    template = {"string": words.text, "number": words.number, "boolean": words.boolean, "date": words.date}
    return template.get(kind, "{x}").format(x=expression)


def json_columns(dialect_name: str, expression: str) -> Resolver:
    """Return a resolver for attributes held in one JSON object, such as the properties of an event.

    A value of another JSON type than the attribute's is NULL, so that one wrong row is unknown instead of an error.

    Args:
        dialect_name: ``duckdb`` (JSON or text) or ``postgres`` (from 16 on; ``expression`` must be ``jsonb``).
        expression: SQL expression of the object, such as ``"properties"``.

    Raises:
        DialectError: for a dialect without this way of reading JSON.

    >>> json_columns("duckdb", "properties")("paid", "boolean")
    "CASE WHEN json_type(properties, '/paid') = 'BOOLEAN' THEN json_extract_string(properties, '/paid') = 'true' END"
    """
    if dialect_name not in _JSON:
        raise DialectError(f"attributes inside JSON can be read by {' and '.join(_JSON)}; give {dialect_name} columns")
    words = dialect(dialect_name)
    read = _JSON[dialect_name]

    def resolve(attribute: str, kind: AttributeType) -> str:
        return read(words, expression, attribute, kind)

    return resolve


def date_text(dialect_name: str, expression: str) -> str:
    """Return SQL that reads ISO text as a date just as `allocation.audience.dates.to_us` does; NULL when it is none.

    The text is completed to seconds and an explicit offset first, so that the session's time zone plays no part.
    """
    if dialect_name == "duckdb":
        return (
            f"CASE WHEN regexp_full_match({expression}, '{DATE_PATTERN}') THEN epoch_us(TRY_CAST("
            f"CASE WHEN length({expression}) = 10 THEN {expression} || ' 00:00:00Z' ELSE "
            f"{expression}[:16] || CASE WHEN {expression}[17:17] = ':' THEN '' ELSE ':00' END || {expression}[17:] || "
            f"CASE WHEN regexp_matches({expression}[17:], '[Z+-]') THEN '' ELSE 'Z' END END AS TIMESTAMPTZ)) END"
        )
    if dialect_name == "postgres":
        completed = (
            f"CASE WHEN length({expression}) = 10 THEN {expression} || ' 00:00:00Z' ELSE "
            f"left({expression}, 16) || CASE WHEN substr({expression}, 17, 1) = ':' THEN '' ELSE ':00' END || "
            f"substr({expression}, 17) || CASE WHEN substr({expression}, 17) ~ '[Z+-]' THEN '' ELSE 'Z' END END"
        )
        return (
            f"CASE WHEN {expression} ~ '^({DATE_PATTERN})$' AND pg_input_is_valid({completed}, 'timestamptz') "
            f"THEN (EXTRACT(EPOCH FROM ({completed})::TIMESTAMPTZ) * 1000000) END"
        )
    raise DialectError(
        f"dates held as text can be read by {' and '.join(_JSON)}; give {dialect_name} a timestamp column"
    )


def _duckdb_json(words: Dialect, expression: str, attribute: str, kind: AttributeType) -> str:
    pointer = words.literal("/" + attribute.replace("~", "~0").replace("/", "~1"))
    found = f"json_type({expression}, {pointer})"
    text = f"json_extract_string({expression}, {pointer})"
    if kind == "string":
        return f"CASE WHEN {found} = 'VARCHAR' THEN {text} END"
    if kind == "number":
        return f"CASE WHEN {found} IN ('UBIGINT', 'BIGINT', 'DOUBLE') THEN CAST({text} AS DOUBLE) END"
    if kind == "boolean":
        return f"CASE WHEN {found} = 'BOOLEAN' THEN {text} = 'true' END"
    if kind == "date":
        return f"CASE WHEN {found} = 'VARCHAR' THEN {date_text('duckdb', text)} END"
    if kind == "list":
        items = f"CAST(json_extract({expression}, {pointer}) AS JSON[])"
        item = "CASE WHEN json_type(item) = 'VARCHAR' THEN json_extract_string(item, '$') END"
        return f"CASE WHEN {found} = 'ARRAY' THEN list_transform({items}, lambda item: {item}) END"
    return f"CASE WHEN {found} <> 'NULL' THEN {text} END"


def _postgres_json(words: Dialect, expression: str, attribute: str, kind: AttributeType) -> str:
    key = words.literal(attribute)
    found = f"jsonb_typeof({expression} -> {key})"
    text = f"({expression} ->> {key})"
    if kind == "string":
        return f"CASE WHEN {found} = 'string' THEN {text} END COLLATE \"C\""
    if kind == "number":
        return f"CASE WHEN {found} = 'number' THEN CAST({text} AS DOUBLE PRECISION) END"
    if kind == "boolean":
        return f"CASE WHEN {found} = 'boolean' THEN {text} = 'true' END"
    if kind == "date":
        return f"CASE WHEN {found} = 'string' THEN {date_text('postgres', text)} END"
    if kind == "list":
        strings = f"jsonb_path_query_array({expression} -> {key}, '$[*] ? (@.type() == \"string\")')"
        return f"CASE WHEN {found} = 'array' THEN ARRAY(SELECT jsonb_array_elements_text({strings})) END"
    return f"CASE WHEN {found} <> 'null' THEN {text} END"


_JSON: dict[str, Callable[[Dialect, str, str, AttributeType], str]] = {
    "duckdb": _duckdb_json,
    "postgres": _postgres_json,
}
