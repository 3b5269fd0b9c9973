"""``equipoise new``: definitions to begin with, by industry."""

from __future__ import annotations

from pathlib import Path

import click

from api.cli import UserError


@click.command()
@click.option("--list", "listed", is_flag=True, help="List the templates.")
@click.option("--template", "name", metavar="NAME", help="Which one; its key, or its name in English or Chinese.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; by default standard output.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def command(listed: bool, name: str | None, output: Path | None, force: bool) -> None:
    r"""Write definitions to begin with: stage rule, offers, metrics and one ready experiment of an industry.

    \b
    Examples:
      equipoise new --list
      equipoise new --template retail -o shop.yaml
      equipoise apply shop.yaml --dry-run
    """
    from experiments.errors import InputError
    from experiments.templates.catalogue import TEMPLATES, find

    if listed or name is None:
        if not listed:
            raise UserError("name one by --template NAME; --list shows them")
        if output is not None:
            raise UserError("--output goes with --template; --list writes nothing")
        for template in TEMPLATES.values():
            click.echo(f"{template.key:20}{template.name['en']} {template.name['zh-CN']}")
            click.echo(f"{'':20}{template.about['en']}\n{'':20}{template.about['zh-CN']}")
        return
    try:
        found = find(name)
    except InputError as error:
        raise UserError(str(error)) from None
    if output is None:
        click.echo(found.text, nl=False)
        return
    if output.exists() and not force:
        raise UserError(f"--output {output}: is there already; name another file, or add --force")
    try:
        output.write_text(found.text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written: {error.strerror}") from None
    click.echo(f"{output} written. Look through it, then: equipoise apply {output} --dry-run")
