"""Random audience rules and random attributes, shared by the tests that compare engines."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

TYPES = {
    "s": "string",
    "t": "string",
    "n": "number",
    "b": "boolean",
    "d": "date",
    "l": "list",
    'it\'s "odd"/~': "string",
}
NOW = 1_772_500_000_000_000  # 2026-03-03T01:06:40Z

# Small pools, so that equal values, prefixes and ties are common. Byte order, case folding, trailing spaces, wildcards,
# quotes and escapes are where engines differ.
STRINGS = [
    "", "a", "A", "b", "ab", "a ", "é", "e\u0301", "ß", "ss", "\uffff", "\U00010000", "🙂", "🙂🙃", "满100减20", "100%",
    "_", "it's", 'say "hi"', "back\\slash", "\\u0041", "line\nbreak", "tab\there", "\x01", "null", "true", "1",
]  # fmt: skip
texts = st.sampled_from(STRINGS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6
)
numbers = st.sampled_from([0, -0.0, 1, 1.0, -1, 0.1, 0.30000000000000004, 0.3, 1e-300, 5e-324, 2.5, 91, 2**53 - 1]) | (
    st.floats(-1e6, 1e6) | st.integers(-5, 5)
)
stored_numbers = numbers | st.sampled_from([2**53 + 1, 2**60, 1e300])
DATES = [
    "2026-03-03", "2026-03-02", "2025-12-02", "2026-03-03T01:06:40Z", "2026-03-03T01:06:40.000001Z", "2026-03-03 00:00",
    "2026-03-03T08:00+08:00", "2026-03-03T08:00:00+08:00", "2026-03-02T19:00:00.000-05:00",
    "1969-12-31T23:59:59.999999", "2024-02-29", "2025-09-04T00:59:59", "1970-01-01", "1999-12-31T23:59:59.9-12:00",
]  # fmt: skip
NOT_DATES = [
    "2026-02-30", "2025-02-29", "2026-3-3", "20260303", "2026-W01-1", "2026-03-03T24:00", "2026-03-03T10",
    "0000-01-01", "2026-03-03T10:00:00.1234567", "2026-03-03T10:00:60", "today", "2026-03-03 ", " 2026-03-03",
    "2026-03-03T10:00+16:00", "２０２６-03-03", "2026-03-03t10:00z", "2026-03-03\n", "",
]  # fmt: skip
dates = st.sampled_from(DATES) | st.datetimes().map(lambda moment: moment.replace(year=max(2, moment.year)).isoformat())
lists = st.lists(texts, max_size=4)


def _leaf(name: str) -> st.SearchStrategy[dict[str, Any]]:
    kind = TYPES[name]
    values: st.SearchStrategy[Any] = {"string": texts, "number": numbers, "boolean": st.booleans(), "date": dates}.get(
        kind, texts
    )
    some = values.filter(bool)
    exists = st.fixed_dictionaries({"op": st.just("exists")}, optional={"value": st.booleans()})
    single = ["eq", "ne", "lt", "lte", "gt", "gte"]
    shapes = {
        "list": [st.fixed_dictionaries({"op": st.just("contains"), "value": some})],
        "boolean": [st.fixed_dictionaries({"op": st.sampled_from(["eq", "ne"]), "value": values})],
    }.get(
        kind,
        [
            st.fixed_dictionaries({"op": st.sampled_from(single), "value": values}),
            st.fixed_dictionaries(
                {"op": st.sampled_from(["in", "not_in"]), "value": st.lists(values, min_size=1, max_size=4)}
            ),
            st.fixed_dictionaries({"op": st.just("between"), "value": st.tuples(values, values).map(_ordered(kind))}),
        ],
    )
    if kind == "string":
        shapes.append(st.fixed_dictionaries({"op": st.sampled_from(["contains", "starts_with"]), "value": some}))
    if kind == "date":
        day = st.sampled_from([-1, 0, 1, 90, 91, 180, 36_525])
        shapes.append(
            st.fixed_dictionaries({"op": st.just("days_since"), "gte": day}, optional={"lte": st.just(36_525)})
        )
        shapes.append(st.fixed_dictionaries({"op": st.just("days_since"), "lte": day}))
    return st.one_of(*shapes, exists).map(lambda leaf: {"attribute": name, **leaf})


def _ordered(kind: str) -> Any:
    from allocation.audience.dates import to_us

    return lambda pair: sorted(pair, key=to_us if kind == "date" else None)


leaves = st.sampled_from(sorted(TYPES)).flatmap(_leaf)
rules = st.recursive(
    leaves,
    lambda part: st.one_of(
        st.lists(part, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(part, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        part.map(lambda rule: {"not": rule}),
    ),
    max_leaves=6,
)

_RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "string": texts,
    "number": stored_numbers,
    "boolean": st.booleans(),
    "date": dates,
    "list": lists,
}
_WRONG = st.one_of(
    st.none(), texts, stored_numbers, st.booleans(), st.sampled_from(NOT_DATES),
    st.lists(st.one_of(st.none(), texts, st.integers(0, 2), st.booleans(), lists), max_size=3),
    st.dictionaries(st.sampled_from(["a", "1"]), st.integers(0, 2), max_size=1),
)  # fmt: skip

typed_rows = st.fixed_dictionaries(
    {},
    optional={
        name: _RIGHT[kind] | st.none() | (st.just(math.nan) if kind == "number" else st.none())
        for name, kind in TYPES.items()
    },
)
"""Attributes that are of their type, null, NaN or missing: what typed columns can hold."""

json_rows = st.fixed_dictionaries({}, optional={name: _RIGHT[kind] | _WRONG for name, kind in TYPES.items()})
"""Attributes of any JSON type, right or wrong."""
