"""The ``equipoise`` command. Each subcommand lives in api/commands and is imported only when it is called."""

from __future__ import annotations

import importlib
import sys

import click

# name → one line of help; `name` lives in api/commands/name_.py. Listed here so that `equipoise --help` imports nothing
# heavy.
COMMANDS: dict[str, str] = {
    "analyze": "Analyse a finished experiment from a CSV or Parquet file.",
    "apply": "Create or change definitions from a YAML file.",
    "assign": "Assign a file of members to the variants of an experiment.",
    "decide": "Decide one member's variant.",
    "demo": "Fill an empty deployment with a simulated shop.",
    "explain": "Say step by step why a member gets a variant.",
    "export": "Write definitions as YAML.",
    "import": "Import decisions or events that another tool recorded.",
    "migrate": "Create or upgrade the database.",
    "preview": "Check a draft before launch: counts, cost, overlap.",
    "report": "Compute and show an experiment's report.",
    "serve": "Start the service.",
    "sql": "Print an experiment's assignment as SQL.",
    "transition": "Move an experiment to its next state.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import ``api.commands.<name>`` and return its ``command``."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"api.commands.{cmd_name}_")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="equipoise", prog_name="equipoise")
@click.option("--data", metavar="DIR", envvar="EQUIPOISE_DATA", help="Data folder (default ./equipoise-data).")
@click.option(
    "--database", metavar="URL", envvar="EQUIPOISE_DATABASE_URL", help="Database (default: SQLite in the data folder)."
)
@click.pass_context
def cli(ctx: click.Context, data: str | None, database: str | None) -> None:
    """Equipoise decides which offer each member gets, and finds out which offers pay."""
    ctx.obj = {"data": data, "database": database}


class UserError(click.ClickException):
    """One line on stderr that names the file, row, column or option and what to do; exit code 2."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        """Print the line."""
        click.echo(f"equipoise: {self.message}", err=True)


def main() -> None:
    """Run the command line; bad input is one line on stderr, never a traceback."""
    try:
        cli(prog_name="equipoise")
    except BrokenPipeError:
        sys.exit(0)
