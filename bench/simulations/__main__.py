"""Run simulations and print their tables; ``--write`` renews their sections of docs/simulations.md."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import bench.simulations
from bench.simulations.figure import Figure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "simulations.md"
NOT_SUBJECTS = {"__main__", "figure"}
HEAD = """# Simulations behind the claims

Each row is a claim of the [statistics guide](statistics.md) tried out: simulated (with its Monte Carlo standard error
and seed) or computed exactly. `python -m bench.simulations --write` makes this page anew; `make test-slow` holds every
goal, with two standard errors allowed.
"""


def subjects() -> list[str]:
    """Return the names of all subjects."""
    found = (module.name for module in pkgutil.iter_modules(bench.simulations.__path__))
    return sorted(name for name in found if name not in NOT_SUBJECTS)


def run(name: str) -> list[Figure]:
    """Run one subject with its own number of runs and seed."""
    figures: list[Figure] = importlib.import_module(f"bench.simulations.{name}").run()
    return figures


def table(title: str, figures: Sequence[Figure]) -> str:
    """Return a subject's figures as a Markdown table."""
    lines = [
        f"## {title}",
        "",
        "| what | measure | value | s.e. | goal | runs | seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        goal = [f"≥ {figure.least:g}"] if figure.least is not None else []
        goal += [f"≤ {figure.most:g}"] if figure.most is not None else []
        told = " and ".join(goal) or "–"
        error = f"{figure.std_error:.4f}" if figure.runs else "exact"
        runs = f"{figure.runs:,}" if figure.runs else "–"
        seed = "–" if figure.seed is None else str(figure.seed)
        missed = "" if figure.met else " **missed**"
        lines.append(
            f"| {figure.subject} | {figure.measure} | {figure.value:.4f}{missed} | {error} | {told} | {runs} | {seed} |"
        )
    return "\n".join(lines) + "\n"


def title_of(name: str) -> str:
    """Return the heading of a subject."""
    return (importlib.import_module(f"bench.simulations.{name}").__doc__ or name).splitlines()[0].rstrip(".")


def renewed(page: str, section: str) -> str:
    """Return the page with a section in place of the one of its heading; sections stand in the order of subjects."""
    found = {part.splitlines()[0]: part for part in page.split("\n## ")[1:]}
    found[section.splitlines()[0].removeprefix("## ")] = section.removeprefix("## ")
    parts = [found[title].rstrip("\n") + "\n" for title in map(title_of, subjects()) if title in found]
    return HEAD + "".join(f"\n## {part}" for part in parts)


def main(arguments: Sequence[str]) -> int:
    """Run the named subjects, or all; return 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(subjects())}")
    parser.add_argument("--write", action="store_true", help="renew their sections of docs/simulations.md")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(subjects()):
        parser.error(f"no subject {', '.join(sorted(unknown))}; there are {', '.join(subjects())}")
    missed = 0
    for name in options.names or subjects():
        begun = time.perf_counter()
        figures = run(name)
        if not figures:
            print(f"{name}: {importlib.import_module(f'bench.simulations.{name}').ABSENT}")
            continue
        missed += sum(not figure.met for figure in figures)
        section = table(title_of(name), figures)
        print(section, f"({time.perf_counter() - begun:.0f} s)", sep="", flush=True)
        if options.write:
            PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), section), encoding="utf-8")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
