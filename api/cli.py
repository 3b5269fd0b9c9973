"""The ``equipoise`` command. Each subcommand lives in api/commands and is imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

# name → one line of help; `name` lives in api/commands/name_.py. Listed here so that `equipoise --help` imports nothing
# heavy.
COMMANDS: dict[str, str] = {
    "analyze": "Analyse a finished experiment from a CSV or Parquet file.",
    "apply": "Create or change definitions from a YAML file.",
    "assign": "Assign a file of members to the variants of an experiment.",
    "clv": "Foretell what members will still order and spend.",
    "decide": "Decide one member's variant.",
    "demo": "Fill an empty deployment with a simulated shop.",
    "explain": "Say step by step why a member gets a variant.",
    "export": "Write definitions as YAML.",
    "export-data": "Write decisions, events and report results as Parquet.",
    "import": "Import decisions or events that another tool recorded.",
    "keys": "Make, list, rotate and revoke API keys.",
    "migrate": "Create or upgrade the database.",
    "new": "Write definitions to begin with, by industry.",
    "policies": "See and steer what experiments learn.",
    "power": "Plan a test: units, weeks, detectable effects, power curve.",
    "preview": "Check a draft before launch: counts, cost, overlap.",
    "programme": "Show what the whole programme earned against its holdouts.",
    "replay": "Value a policy on logged decisions.",
    "report": "Compute and show an experiment's report.",
    "serve": "Start the service.",
    "simulate": "Let policies decide where the truth is known, and count what they lose.",
    "sql": "Print an experiment's assignment as SQL.",
    "stages": "Compute lifecycle stages from orders, and see who moves.",
    "target": "Choose who gets which offer within a budget.",
    "transition": "Move an experiment to its next state.",
    "uplift": "Say who should get which offer, from a file or an experiment.",
    "validate": "Simulate A/A tests and power on your own data.",
    "webhooks": "Set, list, try and remove webhooks.",
    "worker": "Do the deployment's jobs without serving.",
}


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What linear algebra asks for how many threads it may have: one, for this process and those it starts, unless the
environment says otherwise. Its threads wait busily: beside other work on two cores, learning took ten times as long
with them, and our matrices are too small to gain by them."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is needed."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run as click does, but say wrong usage in one line, as everything else that is wrong."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            help_of = error.ctx.command_path if error.ctx else "equipoise"
            message = " ".join(error.format_message().split()).rstrip(".")
            click.echo(f"equipoise: {message}; see {help_of} --help", err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("Aborted!", err=True)
            sys.exit(1)
        except ValueError as error:
            from experiments.errors import InputError

            if not isinstance(error, InputError):
                raise
            click.echo(f"equipoise: {error}", err=True)
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import ``api.commands.<name>`` and return its ``command``."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"api.commands.{cmd_name.replace('-', '_')}_")
        command: click.Command = module.command
        if command.help:
            # Raw docstrings spell out the mark before paragraphs that click must not wrap.
            command.help = command.help.replace(r"\b", "\b")
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
    os.environ.update({name: os.environ.get(name, "1") for name in THREADS})
    # Where the locale is not UTF-8, arguments in it arrive as surrogates and would match no column.
    arguments = [os.fsencode(argument).decode("utf-8", "surrogateescape") for argument in sys.argv[1:]]
    try:
        cli.main(arguments, prog_name="equipoise")
    except BrokenPipeError:
        # Nobody reads on; leave nothing for the interpreter to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
