"""Who earns more where the truth is known: our policies and other libraries' in the same simulated worlds.

``.venv-bench/bin/python -m bench.bandits_learning --write`` renews docs/bandits-learning.md and its picture. Every
policy meets the same members with the same minds, seed by seed, so differences are paired. Each world is played twice:
with the environment's own updates, and with a fifth of them.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.bandits_peers import Bayesianbandits, Contextualbandits, VowpalWabbit
from experiments.simulating.comparing import Standing, compare
from experiments.simulating.environment import Environment
from experiments.simulating.environments import ENVIRONMENTS
from experiments.simulating.learner import Learner
from experiments.simulating.named import learner_named
from experiments.simulating.picture import picture

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, IMAGE = DOCS / "bandits-learning.md", DOCS / "images" / "bandits-drift.svg"
OUT = Path(__file__).parent / "out" / "bandits_learning.json"
CURVES = {"regret", "regret_std_error", "at"}
SEEDS = 6
FIRST_SEED = 2001
"""Of worlds that nothing was tried in before; those of every development begin at 1."""
RARER = 5
OURS = (
    "igw", "igw,explore=0", "thompson,explore=0", "linucb", "greedy", "beta_thompson",
    "igw,half_life_days=inf", "igw,half_life_days=inf,explore=0",
)  # fmt: skip
RULES = ("uniform", *(f"mabwiser:{name}" for name in ("linucb", "linucb-1", "lints", "lingreedy", "ucb1")))
PEERS: dict[str, Callable[[Environment, int], Learner]] = {
    "contextualbandits:linucb": lambda env, seed: Contextualbandits(env, "linucb", seed=seed),
    "contextualbandits:lints": lambda env, seed: Contextualbandits(env, "lints", seed=seed),
    "bayesianbandits:nig": lambda env, seed: Bayesianbandits(env, "nig", seed=seed),
    "bayesianbandits:nig-forgetting": lambda env, seed: Bayesianbandits(env, "nig-forgetting", seed=seed),
    "bayesianbandits:glm-forgetting": lambda env, seed: Bayesianbandits(env, "glm-forgetting", seed=seed),
    "bayesianbandits:glm": lambda env, seed: Bayesianbandits(env, "glm", seed=seed),
    "vw:squarecb": lambda env, seed: VowpalWabbit(env, "squarecb", seed=seed),
    "vw:bag": lambda env, seed: VowpalWabbit(env, "bag", seed=seed),
}
FORGETS = {
    "igw,half_life_days=inf", "igw,half_life_days=inf,explore=0", "bayesianbandits:nig-forgetting",
    "bayesianbandits:glm-forgetting",
}  # fmt: skip
"""Asked only where there is something to forget."""
GOALS = {"igw,explore=0": -0.5, "igw": -1.5}
"""Points of percent that ours may lie behind the best of the others, without and with a floor of 2 %."""
HEAD = """# Who earns more: learning quality beside other libraries

Made by `.venv-bench/bin/python -m bench.bandits_learning --write`; [simulate](simulate.md) tells what is simulated, and
what is not. Figures are the expected profit of what was decided in percent of always deciding best, mean ± one standard
error over {worlds} worlds (seeds {first} to {last}, which no setting was tried in), the same worlds for everybody. It
took {minutes:.0f} minutes on a busy machine of two cores.

The others' settings are those that did best on other problems. How fast to forget under drift was chosen on seeds 1 to
3, for ours (3 of 3, 6 and 10 days) as for bayesianbandits (.998 of .9995, .999, .998 and .996). The others' rewards are
scaled for them, they get the same columns, declared pairs included, and whoever knows no eligibility gets its best
eligible choice. contextualbandits' LinTS samples from the interval, because as it comes it decides no better than an
even split. All but VW choose with certainty, or by a sample whose probability they do not tell: nothing could be logged
with a propensity.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One environment at one rhythm of updates."""

    environment: Environment
    standings: dict[str, Standing]

    def best_peer(self) -> Standing:
        """Return the best of the other libraries, chosen after the fact, which favours it."""
        theirs = [one for name, one in self.standings.items() if ":" in name]
        return max(theirs, key=lambda one: one.percent)

    def difference(self, ours: str, theirs: str) -> tuple[float, float]:
        """Return the mean paired difference and its standard error, points of percent."""
        gap = np.subtract(self.standings[ours].by_seed, self.standings[theirs].by_seed)
        return float(gap.mean()), float(gap.std(ddof=1) / len(gap) ** 0.5)


def makers(environment: Environment) -> dict[str, Any]:
    """Return who takes part: who forgets where something drifts, who models conversions where there is a worth."""
    names = [*RULES, *PEERS, *OURS]
    if environment.half_life_days is None:
        names = [name for name in names if name not in FORGETS]
    if not environment.worth:
        names.remove("bayesianbandits:glm")
    return {name: PEERS.get(name, lambda env, seed, name=name: learner_named(name, env, seed=seed)) for name in names}


def play(names: Sequence[str], seeds: range) -> list[Part]:
    """Run everybody in the named environments; what is found is kept after each."""
    started = time.perf_counter()
    parts: list[Part] = []
    for name in names:
        usual = ENVIRONMENTS[name]
        for environment in (usual, usual.resized(every=usual.every * RARER)):
            begun = time.perf_counter()
            found = compare(environment, makers(environment), seeds)
            parts.append(Part(environment, {one.policy: one for one in found}))
            print(f"{name}, an update every {environment.every:,} ({time.perf_counter() - begun:.0f} s)")
            for one in sorted(found, key=lambda one: -one.percent):
                print(f"  {one.policy:<34} {one.percent:6.2f} ± {one.std_error or 0:.2f}  {one.seconds:.1f} CPU s")
            sys.stdout.flush()
        keep(parts, time.perf_counter() - started)
    return parts


def table(parts: Sequence[Part]) -> list[str]:
    """Return percent of the best possible, policy by environment."""
    heads = [part.environment.name + ("\\*" if part.environment.held_out else "") for part in parts]
    lines = ["| policy | " + " | ".join(heads) + " |", "|---|" + "---|" * len(parts)]
    names = dict.fromkeys(name for part in parts for name in part.standings)
    best = [max(one.percent for one in part.standings.values()) for part in parts]
    for name in names:
        cells = []
        for part, top in zip(parts, best, strict=True):
            one = part.standings.get(name)
            cell = "–" if one is None else f"{one.percent:.1f} ± {one.std_error:.1f}"
            cells.append(f"**{cell}**" if one is not None and one.percent == top else cell)
        lines.append(f"| {_label(name)} | " + " | ".join(cells) + " |")
    return lines


def against_best(parts: Sequence[Part]) -> tuple[list[str], int]:
    """Return ours against the best of the others, with the goals, and how many of them are missed."""
    lines = ["| environment | update every | best of the others | ours without floor | ours, floor .02 | ours − best, no floor | goal | with floor | goal |"]  # noqa: E501  # fmt: skip
    lines.append("|---|---|---|---|---|---|---|---|---|")
    missed = 0
    for part in parts:
        peer = part.best_peer()
        cells = []
        for ours, goal in GOALS.items():
            gap, error = part.difference(ours, peer.policy)
            met = gap >= goal
            missed += not met
            cells += [f"{gap:+.2f} ± {error:.2f}", f"≥ {goal:g}, {'met' if met else '**missed**'}"]
        free, floored = (part.standings[ours] for ours in GOALS)
        star = "\\*" if part.environment.held_out else ""
        lines.append(
            f"| {part.environment.name}{star} | {part.environment.every:,} | {peer.policy} {peer.percent:.1f} | "
            f"{free.percent:.1f} | {floored.percent:.1f} | {' | '.join(cells)} |"
        )
    return lines, missed


def forgetting(parts: Sequence[Part]) -> list[str]:
    """Return what discounting is worth under drift, paired."""
    lines = ["| under drift, update every | ours, floor .02 | less | difference |", "|---|---|---|---|"]
    for part in parts:
        if part.environment.half_life_days is None:
            continue
        for other in ("igw,half_life_days=inf", "mabwiser:linucb", part.best_peer().policy):
            gap, error = part.difference("igw", other)
            own, their = part.standings["igw"].percent, part.standings[other].percent
            lines.append(
                f"| {part.environment.every:,} | {own:.1f} | {_label(other)} {their:.1f} | {gap:+.1f} ± {error:.1f} |"
            )
    return lines


def keep(parts: Sequence[Part], seconds: float) -> None:
    """Keep what was found, so that the page can be written again from it."""
    kept = [{"name": part.environment.name, "every": part.environment.every, "found": part.standings} for part in parts]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(msgspec.json.encode({"seconds": seconds, "parts": kept}, enc_hook=lambda array: array.tolist()))


def kept() -> tuple[list[Part], float]:
    """Return what the last run found."""
    read = msgspec.json.decode(OUT.read_bytes())
    parts = []
    for one in read["parts"]:
        found = {
            name: Standing(**{key: np.array(value) if key in CURVES else value for key, value in standing.items()})
            for name, standing in one["found"].items()
        }
        parts.append(Part(ENVIRONMENTS[one["name"]].resized(every=one["every"]), found))
    return parts, float(read["seconds"])


def page(parts: Sequence[Part], seeds: range, seconds: float) -> tuple[str, int]:
    """Return the document, and how many goals are missed."""
    usual, rare = parts[::2], parts[1::2]
    compared, missed = against_best(parts)
    held_out = " and ".join(f"`{part.environment.name}`" for part in usual if part.environment.held_out)
    told = [f"- `{part.environment.name}`: {part.environment.title['en']}." for part in usual]
    return (
        "\n".join(
            [
                HEAD.format(first=seeds[0], last=seeds[-1], worlds=len(seeds), minutes=seconds / 60),
                *told,
                "",
                f"\\* {held_out} are held out: nothing of ours was tuned on them.",
                "",
                "## Ours against the best of the others",
                "",
                *compared,
                "",
                "## Drift: what forgetting is worth",
                "",
                *forgetting(parts),
                "",
                "![Regret under drift](images/bandits-drift.svg)",
                "",
                "## All of them",
                "",
                "An update every "
                + ", ".join(f"{part.environment.every:,} (`{part.environment.name}`)" for part in usual)
                + " decisions:",
                "",
                *table(usual),
                "",
                f"With a fifth of the updates (every {rare[0].environment.every:,} and so on):",
                "",
                *table(rare),
                "",
            ]
        ),
        missed,
    )


def _label(name: str) -> str:
    if ":" in name or name == "uniform":
        return name
    kind, *settings = name.split(",")
    said = ["no floor" if "explore=0" in settings else "floor .02"]
    said += ["nothing forgotten"] if "half_life_days=inf" in settings else []
    return f"ours: {kind}, {', '.join(said)}"


def main(arguments: Sequence[str]) -> int:
    """Run the comparison; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.bandits_learning", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(ENVIRONMENTS)}")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--write", action="store_true", help=f"renew {PAGE.name}; runs all")
    parser.add_argument("--kept", action="store_true", help="take what the last run found, and run nothing")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(ENVIRONMENTS):
        parser.error(f"no environment {', '.join(sorted(unknown))}; there are {', '.join(ENVIRONMENTS)}")
    if options.seeds < 2:
        parser.error("errors need two seeds or more")
    warnings.filterwarnings("ignore", module="bayesianbandits")
    names = list(ENVIRONMENTS) if options.write else options.names or list(ENVIRONMENTS)
    if not options.kept:
        play(names, range(FIRST_SEED, FIRST_SEED + options.seeds))
    parts, seconds = kept()
    worlds = len(parts[0].standings["uniform"].by_seed)
    text, missed = page(parts, range(FIRST_SEED, FIRST_SEED + worlds), seconds)
    print("\n".join(against_best(parts)[0]))
    print("\n".join(forgetting(parts)))
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
        drift = next(part for part in parts if part.environment.half_life_days is not None)
        shown = ("igw", "igw,half_life_days=inf", "mabwiser:linucb", drift.best_peer().policy, "uniform")
        chosen = [drift.standings[name] for name in shown]
        IMAGE.write_text(picture(f"drift: {drift.environment.title['en']}", chosen), encoding="utf-8")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
