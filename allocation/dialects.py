"""What seven SQL engines call the few things that deciding needs: hashing, byte order of text, dates, lists.

Rules and assignment meet an engine only through the canonical values named here, so that the same comparison means the
same everywhere: text in byte order, numbers as doubles without NaN, dates as whole microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


class DialectError(ValueError):
    """Something that SQL, or one dialect of it, cannot express; the message says what and what to do."""


@dataclass(frozen=True)
class Dialect:
    """One engine's words. ``{x}`` is an expression, ``{v}`` a literal."""

    name: str
    title: str
    quote: str
    """Quotation mark of identifiers."""
    escapes: bool
    """Whether a backslash begins an escape in a text literal."""
    sha256: str
    """Text → 64 lower-case hex digits of the hash of its UTF-8 bytes, comparing by bytes."""
    join: str
    """Concatenates the literal ``{v}`` and ``{x}``."""
    text: str
    """Text column → text that compares by bytes."""
    number: str
    """Numeric column → double, NULL for NaN."""
    boolean: str
    date: str
    """Date or timestamp column → microseconds since 1970-01-01 UTC; without a zone of its own it counts as UTC."""
    date_years: tuple[int, int]
    """First and last year that its timestamps hold."""
    double: str
    """Literal of a double; ``{v}`` is Python's shortest exact form with an exponent."""
    contains: str
    starts_with: str
    list_contains: str
    """Three-valued: NULL for a missing list, never NULL because of a NULL within it."""
    octets: str
    """Length of text in bytes."""
    has_nul: str
    """Whether text contains a NUL character; empty where no text can."""
    lists_are_never_missing: bool = False
    """An array column holds an empty array where another engine holds NULL."""
    in_ignores_null: bool = False
    """``NULL IN (…)`` is false instead of NULL."""
    fence: str = ""
    """Ends a subquery so that the optimizer does not copy its expressions into each place that uses them."""

    def identifier(self, name: str) -> str:
        """Quote a column or table name; dots separate schema and table.

        >>> DIALECTS["postgres"].identifier("crm.members")
        '"crm"."members"'
        """
        parts = name.split(".")
        if not all(parts) or "\x00" in name:
            raise DialectError(f"{name!r} is not a column or table name; write name or schema.name")
        return ".".join(self._part(part) for part in parts)

    def column(self, name: str) -> str:
        """Quote a column name, which may contain dots."""
        if not name or "\x00" in name:
            raise DialectError(f"{name!r} is not a column name; give one")
        return self._part(name)

    def _part(self, part: str) -> str:
        # Snowflake stores an unquoted name in capitals, so that quoting a plain name would no longer find it.
        if self.name == "snowflake" and _PLAIN(part) and _RESERVED(part) is None:
            return part
        if self.name == "bigquery" and ("`" in part or "\\" in part):
            raise DialectError(f"BigQuery has no column or table called {part!r}; rename it")
        return f"{self.quote}{part.replace(self.quote, self.quote * 2)}{self.quote}"

    def literal(self, text: str) -> str:
        """Write text as a literal, so that no text can end it.

        >>> print(DIALECTS["duckdb"].literal("it's"))
        'it''s'
        """
        if self.name == "mysql" and "\\" in text:
            # Whether a backslash escapes depends on the session's sql_mode; hex digits do not.
            return f"CONVERT(0x{text.encode().hex()} USING utf8mb4)"
        if self.escapes:
            body = text.replace("\\", "\\\\").replace("'", "\\'")
            if self.name == "bigquery":  # its quoted text cannot span lines
                body = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", body)
            return f"'{body}'"
        return "'" + text.replace("'", "''") + "'"

    def number_literal(self, value: float) -> str:
        """Write a finite double exactly.

        >>> DIALECTS["duckdb"].number_literal(0.1), DIALECTS["postgres"].number_literal(3.0)
        ('1e-1', "'3e0'::DOUBLE PRECISION")
        """
        digits, _, exponent = f"{value!r}".partition("e")
        whole, _, decimals = digits.partition(".")
        decimals = decimals.rstrip("0")
        mantissa = f"{whole}{decimals}"
        power = int(exponent or 0) - len(decimals)
        sign, mantissa = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
        return self.double.format(v=f"{sign}{mantissa.lstrip('0') or '0'}e{power}")


_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII).fullmatch
_CONTROL = re.compile(r"[\x01-\x1f]")
_RESERVED = re.compile(  # Snowflake's list of words that cannot name a column or table unquoted
    r"account|all|alter|and|any|as|between|by|case|cast|check|column|connect|constraint|"
    r"create|cross|current|current_date|current_time|current_timestamp|current_user|database|"
    r"delete|distinct|drop|else|exists|false|following|for|from|full|grant|group|having|"
    r"ilike|in|increment|inner|insert|intersect|into|is|issue|join|lateral|left|like|"
    r"localtime|localtimestamp|minus|natural|not|null|of|on|or|order|organization|qualify|"
    r"regexp|revoke|right|rlike|row|rows|sample|schema|select|set|some|start|table|"
    r"tablesample|then|to|trigger|true|try_cast|union|unique|update|using|values|view|when|"
    r"whenever|where|with"
).fullmatch

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            name="duckdb",
            title="DuckDB",
            quote='"',
            escapes=False,
            sha256="sha256({x})",
            join="{v} || {x}",
            text="{x}",
            number="NULLIF(CAST({x} AS DOUBLE), 'NaN'::DOUBLE)",
            boolean="{x}",
            date="epoch_us({x})",
            date_years=(1, 9999),
            double="{v}",
            contains="contains({x}, {v})",
            starts_with="starts_with({x}, {v})",
            list_contains="list_contains({x}, {v})",
            octets="strlen({x})",
            has_nul="contains({x}, chr(0))",
        ),
        Dialect(
            name="postgres",
            title="PostgreSQL",
            quote='"',
            escapes=False,
            sha256="encode(sha256(convert_to({x}, 'UTF8')), 'hex') COLLATE \"C\"",
            join="{v} || {x}",
            text='{x} COLLATE "C"',
            number="NULLIF(CAST({x} AS DOUBLE PRECISION), 'NaN'::DOUBLE PRECISION)",
            boolean="{x}",
            date="(EXTRACT(EPOCH FROM {x}) * 1000000)",
            date_years=(1, 9999),
            double="'{v}'::DOUBLE PRECISION",
            contains="STRPOS({x}, {v}) > 0",
            starts_with="STARTS_WITH({x}, {v})",
            list_contains="{x} @> ARRAY[{v}]::TEXT[]",
            octets="OCTET_LENGTH({x})",
            has_nul="",
            fence=" OFFSET 0",
        ),
        Dialect(
            name="spark",
            title="Spark",
            quote="`",
            escapes=True,
            sha256="sha2({x}, 256)",
            join="concat({v}, {x})",
            text="{x}",
            number="nullif(CAST({x} AS DOUBLE), CAST('NaN' AS DOUBLE))",
            boolean="{x}",
            date="unix_micros(CAST({x} AS TIMESTAMP))",
            date_years=(1, 9999),
            double="CAST('{v}' AS DOUBLE)",
            contains="contains({x}, {v})",
            starts_with="startswith({x}, {v})",
            list_contains="CASE WHEN {x} IS NOT NULL THEN COALESCE(array_contains({x}, {v}), FALSE) END",
            octets="octet_length({x})",
            has_nul="contains({x}, char(0))",
        ),
        Dialect(
            name="bigquery",
            title="BigQuery",
            quote="`",
            escapes=True,
            sha256="TO_HEX(SHA256({x}))",
            join="CONCAT({v}, {x})",
            text="COLLATE({x}, '')",
            number="IF(IS_NAN(CAST({x} AS FLOAT64)), NULL, CAST({x} AS FLOAT64))",
            boolean="{x}",
            date="UNIX_MICROS(TIMESTAMP({x}))",
            date_years=(1, 9999),
            double="CAST('{v}' AS FLOAT64)",
            contains="STRPOS({x}, {v}) > 0",
            starts_with="STARTS_WITH({x}, {v})",
            list_contains="COALESCE({v} IN UNNEST({x}), FALSE)",
            octets="BYTE_LENGTH({x})",
            has_nul="STRPOS({x}, CODE_POINTS_TO_STRING([0])) > 0",
            lists_are_never_missing=True,
        ),
        Dialect(
            name="snowflake",
            title="Snowflake",
            quote='"',
            escapes=True,
            sha256="COLLATE(SHA2({x}, 256), 'utf8')",
            join="{v} || {x}",
            text="COLLATE({x}, 'utf8')",
            number="NULLIF(CAST({x} AS DOUBLE), CAST('NaN' AS DOUBLE))",
            boolean="{x}",
            date="DATE_PART(EPOCH_MICROSECOND, {x})",
            date_years=(1, 9999),
            double="CAST('{v}' AS DOUBLE)",
            contains="CONTAINS({x}, {v})",
            starts_with="STARTSWITH({x}, {v})",
            list_contains="ARRAY_CONTAINS(CAST({v} AS VARIANT), {x})",
            octets="OCTET_LENGTH({x})",
            has_nul=r"CONTAINS({x}, '\x00')",
        ),
        Dialect(
            name="clickhouse",
            title="ClickHouse",
            quote="`",
            escapes=True,
            sha256="lower(hex(SHA256({x})))",
            join="concat({v}, {x})",
            text="{x}",
            number="if(isNaN(toFloat64({x})), NULL, toFloat64({x}))",
            boolean="{x}",
            date="toUnixTimestamp64Micro(toDateTime64({x}, 6, 'UTC'))",
            date_years=(1900, 2299),
            double="toFloat64('{v}')",
            contains="position({x}, {v}) > 0",
            starts_with="startsWith({x}, {v})",
            list_contains="has({x}, {v})",
            octets="length({x})",
            has_nul=r"position({x}, '\x00') > 0",
            lists_are_never_missing=True,
            in_ignores_null=True,
        ),
        Dialect(
            name="mysql",
            title="MySQL",
            quote="`",
            escapes=False,
            sha256="CONVERT(SHA2(CONVERT({x} USING utf8mb4), 256) USING utf8mb4) COLLATE utf8mb4_0900_bin",
            join="CONCAT({v}, {x})",
            text="CONVERT({x} USING utf8mb4) COLLATE utf8mb4_0900_bin",
            number="CAST({x} AS DOUBLE)",
            boolean="{x}",
            date="TIMESTAMPDIFF(MICROSECOND, TIMESTAMP('1970-01-01'), {x})",
            date_years=(1000, 9999),
            double="{v}",
            contains="LOCATE({v}, {x}) > 0",
            starts_with="LEFT({x}, CHAR_LENGTH({v})) = {v}",
            list_contains="JSON_CONTAINS({x}, JSON_QUOTE({v}))",
            octets="LENGTH(CONVERT({x} USING utf8mb4))",
            has_nul="LOCATE(CHAR(0), {x}) > 0",
        ),
    )
}
"""The dialects, by name."""


def dialect(name: str) -> Dialect:
    """Return a dialect by name.

    Raises:
        DialectError: listing the names there are.

    >>> dialect("duckdb").title
    'DuckDB'
    """
    try:
        return DIALECTS[name]
    except KeyError:
        raise DialectError(f"{name!r} is not a dialect; use one of {', '.join(DIALECTS)}") from None
