"""``equipoise simulate``: which policy would have earned more, where the truth is known?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.cli import UserError

if TYPE_CHECKING:
    from experiments.simulating.environment import Environment

DEFAULT = ("igw", "mabwiser:linucb", "uniform")


@click.command(name="simulate")
@click.argument("environment", required=False)
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Of those below; repeat to compare several.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Worlds for each policy.")
@click.option("--first-seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of these worlds.")
@click.option("--decisions", type=click.IntRange(100, 10_000_000), help="How many, instead of the environment's.")
@click.option("--every", type=click.IntRange(min=1), help="Decisions between updates, instead of the environment's.")
@click.option("--svg", type=click.Path(dir_okay=False), metavar="FILE", help="Draw the curves of regret into FILE.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--lang", type=click.Choice(["en", "zh-CN"]), default="en", show_default=True, help="Language of texts.")
def command(
    environment: str | None,
    policies: tuple[str, ...],
    seeds: int,
    first_seed: int,
    decisions: int | None,
    every: int | None,
    svg: str | None,
    output: str,
    lang: str,
) -> None:
    r"""Let policies decide in an ENVIRONMENT whose truth is known, and count what they lose.

    Without ENVIRONMENT, lists the environments. Every policy meets the same members with the same minds, one world for
    each seed. Policies: ours by kind (igw, thompson, linucb, greedy, beta_thompson …) with settings behind it if need
    be; uniform; oracle; variant:KEY; mabwiser:linucb, linucb-1, lints, lingreedy, ucb1, epsilon-greedy.

    \b
    Examples:
      equipoise simulate
      equipoise simulate offers --seeds 5 --svg offers.svg
      equipoise simulate drift --policy igw --policy igw,half_life_days=inf --policy mabwiser:linucb
      equipoise simulate stores --policy igw,explore=0 --policy beta_thompson --output json
    """
    from experiments.errors import InputError
    from experiments.simulating.environments import ENVIRONMENTS
    from experiments.simulating.telling import titled

    if environment is None:
        if policies or svg:
            raise UserError(f"name an environment: {', '.join(ENVIRONMENTS)}")
        for one in ENVIRONMENTS.values():
            click.echo(f"{one.name:<9} {titled(one, lang)}")
        return
    if environment not in ENVIRONMENTS:
        raise UserError(f'there is no environment "{environment}"; there are {", ".join(ENVIRONMENTS)}')
    try:
        chosen = ENVIRONMENTS[environment].resized(decisions=decisions, every=every)
        _simulate(chosen, policies or DEFAULT, range(first_seed, first_seed + seeds), svg, output, lang)
    except InputError as error:
        raise UserError(str(error)) from error


def _simulate(
    environment: Environment, policies: tuple[str, ...], seeds: range, svg: str | None, output: str, lang: str
) -> None:
    from api.commands.printing import print_document, writing
    from experiments.simulating.comparing import compare
    from experiments.simulating.named import learner_named
    from experiments.simulating.picture import picture
    from experiments.simulating.telling import print_standings, standings_json

    names = dict.fromkeys(policies)
    for name in names:  # said at once what is wrong, before anything takes its time
        learner_named(name, environment, seed=0)
    makers = {name: (lambda env, seed, name=name: learner_named(name, env, seed=seed)) for name in names}
    total = len(names) * len(seeds)

    def tell(done: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done} of {total} runs", err=True, nl=done == total)

    standings = compare(environment, makers, seeds, tell=tell)
    if svg is not None:
        try:
            Path(svg).write_text(
                picture(f"{environment.name}: {environment.title[lang]}", standings, lang=lang), encoding="utf-8"
            )
        except OSError as error:
            raise UserError(f"{svg} cannot be written: {error.strerror}") from error
    if output == "json":
        print_document(standings_json(environment, standings))
    else:
        with writing():
            print_standings(environment, standings, lang=lang)
