"""A command has one thread for linear algebra, unless the environment says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from api.cli import THREADS

PROGRAM = """
import os, sys
sys.argv = ["equipoise", "--version"]
from api.cli import main
try:
    main()
finally:
    from threadpoolctl import threadpool_info
    import numpy
    print(*(os.environ[name] for name in sys.stdin.read().split()))
    print({pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"})
"""


@pytest.mark.parametrize(("given", "expected"), [({}, "1 1 1"), ({"OMP_NUM_THREADS": "2"}, "2 1 1")])
def test_threads(given: dict[str, str], expected: str) -> None:
    own = {name: value for name, value in os.environ.items() if name not in THREADS} | given
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=" ".join(THREADS), env=own, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-2:] == [expected, "{1}"]
