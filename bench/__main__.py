"""Run every benchmark: ``python -m bench`` (or ``make bench``), or some: ``python -m bench decide assign``.

Each one measures ours and its peer or limit in one run, interleaved, and prints medians and ratios; figures are kept as
JSON in bench/out/ (not committed). Ratios can be compared between machines, absolute times cannot.
"""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "decide",
    "assign",
    "measure",
    "stats",
    "bandits",
    "uplift",
    "uplift_learners",
    "targeting",
    "clv",
    "http",
    "http_ingest",
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, each in a process of its own, and return how many failed."""
    failed = 0
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS:
            print(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
            return 2
        print(f"\n== {name} ==", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
