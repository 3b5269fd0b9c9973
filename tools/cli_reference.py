"""Write docs/cli.md from what every command says with ``--help``, so that the two cannot differ."""

from __future__ import annotations

from pathlib import Path

import click
from click.testing import CliRunner

from api.cli import COMMANDS, cli

TARGET = Path(__file__).parent.parent / "docs" / "cli.md"


def render() -> str:
    """Return the whole reference as Markdown."""
    runner = CliRunner()
    parts = [
        "# The command line",
        "",
        "Made by `make docs` from `equipoise COMMAND --help`.",
        "",
        *section(runner, []),
    ]
    context = click.Context(cli)
    for name in sorted(COMMANDS):
        command = cli.get_command(context, name)
        parts += section(runner, [name])
        if isinstance(command, click.Group):
            for sub in command.list_commands(context):
                parts += section(runner, [name, sub])
    return "\n".join(parts)


def section(runner: CliRunner, path: list[str]) -> list[str]:
    """Return the lines of one command's section."""
    result = runner.invoke(cli, [*path, "--help"], prog_name="equipoise", terminal_width=100, env={"COLUMNS": "100"})
    title = " ".join(["equipoise", *path])
    return [f"## {title}", "", "```text", result.output.rstrip(), "```", ""]


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
