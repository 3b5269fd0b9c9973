"""Members' future orders as text, JSON, CSV and Parquet."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from experiments.clv.document import Lifetime, Sum
from experiments.clv.lifetime import Customers
from experiments.clv.words import LEFT_OUT, TEXTS, say
from experiments.errors import InputError
from experiments.list_files import format_of
from stats.rfm import SEGMENTS

PIPED_WIDTH = 110


def render_json(document: Lifetime) -> str:
    """Return the document as JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def columns_of(customers: Customers) -> dict[str, Any]:
    """Return the members' columns as they stand in a file: name → values; no column where nothing is known."""
    found, expected = customers.summary, customers.expected
    columns: dict[str, Any] = {
        "unit": customers.units,
        "repeats": found.frequency.astype(np.int64),
        "days_since_last": found.since_last.astype(np.int64),
        "days_since_first": found.age.astype(np.int64),
        "r": customers.scores[:, 0],
        "f": customers.scores[:, 1],
    }
    if expected.value is not None:
        columns |= {"m": customers.scores[:, 2], "spend": found.spend}
    columns |= {
        "segment": [SEGMENTS[place] for place in customers.segment],
        "alive": expected.alive,
        "churned": 1 - expected.alive,
        "expected_orders": expected.purchases,
    }
    if expected.value is not None:
        columns |= {"expected_order_value": expected.order_value, "expected_value": expected.value}
    if customers.ends is not None:
        name = "orders" if expected.value is None else "value"
        columns |= {f"{name}_low": customers.ends[:, 0], f"{name}_high": customers.ends[:, 1]}
    return columns


def render_customers_csv(customers: Customers) -> str:
    """Return one line a member; numbers to 6 significant places."""
    columns = columns_of(customers)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    cells = [_cells(values) for values in columns.values()]
    writer.writerows(zip(*cells, strict=True))
    return out.getvalue()


def _cells(values: Any) -> list[Any]:
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return [f"{value:.6g}" for value in values.tolist()]
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def write_customers(customers: Customers, target: Path) -> None:
    """Write one row a member as ``.csv`` or ``.parquet``, whole or not at all.

    Raises:
        InputError: for another ending, or when the file cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    file_format = format_of(target, "--customers")
    beside = target.with_name(target.name + ".part")
    try:
        if file_format == "csv":
            beside.write_text(render_customers_csv(customers), encoding="utf-8")
        else:
            parquet.write_table(pa.table(columns_of(customers)), beside, compression="zstd")
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"--customers {target}: cannot be written: {error.strerror}") from error


def print_lifetime(document: Lifetime, lang: str = "en") -> None:
    """Print the answer: what to expect first, then by group, then whether it can be believed."""
    from rich.console import Console

    plain = Console(highlight=False, markup=False, emoji=False)
    target = plain if plain.is_terminal else Console(highlight=False, markup=False, emoji=False, width=PIPED_WIDTH)
    for line in _head(document, lang):
        target.print(line)
    target.print(_segments(document, lang))
    for line in _checked(document, lang):
        target.print(line)
    target.print(_models(document, lang))
    for caution in document.cautions:
        target.print(f"! {caution[lang]}")


def _head(document: Lifetime, lang: str) -> list[str]:
    share = document.returned / document.members
    shown = {"members": document.members, "orders": document.orders, "first": document.first, "until": document.until}
    lines = ["", say(TEXTS, "head", lang, **shown, returned=share)]
    expected = say(
        TEXTS,
        "purchases",
        lang,
        days=document.horizon_days,
        estimate=document.purchases.estimate,
        interval=_interval(document.purchases, lang, places=0),
    )
    if document.value is not None:
        interval = _interval(document.value, lang, places=2)
        expected += say(TEXTS, "value", lang, estimate=document.value.estimate, interval=interval)
    lines += [expected, say(TEXTS, "alive", lang, alive=document.alive, share=document.alive / document.members)]
    if document.left_out:
        told = ", ".join(f"{rows:,} {LEFT_OUT[why][lang]}" for why, rows in document.left_out.items())
        lines.append(say(TEXTS, "left_out", lang, rows=told))
    return lines


def _interval(found: Sum, lang: str, *, places: int) -> str:
    if found.ci_low is None or found.ci_high is None:
        return ""
    return say(TEXTS, "interval", lang, low=f"{found.ci_low:,.{places}f}", high=f"{found.ci_high:,.{places}f}")


def _table(title: str, names: list[str]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place == 0 else "right")
    return table


def _segments(document: Lifetime, lang: str) -> Any:
    names = ["segment", "members", "active", "orders", *(["worth"] if document.value is not None else [])]
    table = _table(say(TEXTS, "segments", lang), [say(TEXTS, name, lang) for name in names])
    for row in document.segments:
        worth = [] if row.value is None else [f"{row.value:,.2f}"]
        table.add_row(row.name[lang], f"{row.members:,}", f"{row.alive:.1%}", f"{row.orders:,.1f}", *worth)
    return table


def _checked(document: Lifetime, lang: str) -> list[Any]:
    check = document.check
    if check is None:
        return [say(TEXTS, "unchecked", lang, days=document.horizon_days)]
    line = say(
        TEXTS, "check", lang, until=check.learned_until, days=check.days, foretold=check.foretold, real=check.real
    )
    if check.value_foretold is not None and check.value_real is not None:
        line += say(TEXTS, "check_value", lang, foretold=check.value_foretold, real=check.value_real)
    table = _table("", [say(TEXTS, name, lang) for name in ("repeats", "members", "foretold", "real")])
    for row in check.rows:
        last = row is check.rows[-1] and row.repeats > 0
        error = "" if row.std_error is None else f" ± {row.std_error:.3f}"
        repeats = f"{row.repeats}+" if last else str(row.repeats)
        table.add_row(repeats, f"{row.members:,}", f"{row.foretold:.3f}", f"{row.real:.3f}{error}")
    return [line, table]


def _models(document: Lifetime, lang: str) -> Any:
    table = _table(say(TEXTS, "model", lang), [say(TEXTS, n, lang) for n in ("parameter", "estimate", "error")])
    for model, rows in (("BG/NBD", document.buying), ("gamma–gamma", document.spend)):
        for row in rows:
            error = "–" if row.std_error is None else f"{row.std_error:.4g}"
            table.add_row(f"{model} {row.name}", f"{row.value:.4g}", error)
    return table
