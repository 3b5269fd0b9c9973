"""Bodies made to keep a server busy: what it costs to find out that one cannot be read grows with its length alone."""

import gzip
import time

import pytest

from api.errors import Problem
from api.hot.inflate import inflated
from api.hot.items import split_items

LIMIT = 4 * 1024 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b'{"events": ["' + b'\\"' * 400_000,
        b'{"events": [' + b'\\"' * 400_000,
        b'{"events": ["' + b"\\" * 800_001,
        b'{"events": [' + b'"\\' * 400_000,
        b'{"events": ["' + b"x" * 800_000,
    ],
    ids=["escaped quotes", "quotes outside text", "backslashes", "quotes before backslashes", "no end"],
)
def test_text_without_an_end_is_read_once(body: bytes) -> None:
    began = time.perf_counter()
    assert split_items(body, "events") is None
    assert time.perf_counter() - began < 2  # each quote being tried to the end took hours


def test_gzip_of_very_many_members_is_refused() -> None:
    empty = gzip.compress(b"")
    began = time.perf_counter()
    with pytest.raises(Problem, match="members") as refused:
        inflated(empty * (LIMIT // len(empty)), LIMIT)
    assert refused.value.status == 413
    assert time.perf_counter() - began < 1  # copying what is left after each took a minute
    assert inflated(gzip.compress(b"x") * 50, LIMIT) == b"x" * 50
