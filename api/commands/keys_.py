"""``equipoise keys``: make, list, rotate and revoke API keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError

if TYPE_CHECKING:
    from experiments.security.keys import ApiKey, NewKey

_LENGTH = re.compile(r"([1-9][0-9]{0,4})\s*([mhdw])\Z")
_UNIT_US = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}

_output = click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
_actor = click.option(
    "--actor", default="cli", show_default=True, envvar="EQUIPOISE_ACTOR", help="Who does it, for the audit."
)


@click.group()
def command() -> None:
    """Make, list, rotate and revoke API keys.

    The service is open until the first key is made; from then on every request needs one.
    """


@command.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(["decide", "ingest", "report", "manage"]),
    help="What it may do; repeat for more.",
)
@click.option("--expires", metavar="TIME", help="When it ends: 90d, 12h, 4w, or a time such as 2027-03-03T08:00:00Z.")
@click.option(
    "--ack",
    type=click.Choice(["spool", "store", "none"]),
    default="spool",
    show_default=True,
    help="When requests are answered: rows are on the node's disk, in the database, or merely taken.",
)
@click.option("--source", default="", metavar="NAME", help="What its events carry as source (default: its name).")
@click.option("--environment", default="live", show_default=True, metavar="LABEL", help="A label in the key's text.")
@_output
@_actor
@click.pass_obj
def create(
    obj: dict[str, Any],
    name: str,
    scopes: tuple[str, ...],
    expires: str | None,
    ack: str,
    source: str,
    environment: str,
    output: str,
    actor: str,
) -> None:
    """Make a key called NAME and print its text, which is shown this once."""
    from api.commands.opening import opened
    from experiments.errors import InputError
    from experiments.security import keys

    try:
        with opened(obj, create=True) as (store, _):
            first = not keys.all_keys(store)
            now = keys.now_us()
            made = keys.create(
                store,
                name,
                scopes,
                actor=actor,
                ack=ack,
                source=source,
                environment=environment,
                expires_at=None if expires is None else _ends(expires, now),
                now=now,
            )
    except InputError as error:
        raise UserError(str(error)) from error
    _print_new(made, output, now)
    if first:
        click.echo("This is the first key: within a few seconds every request needs one.", err=True)


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that were revoked or have expired.")
@_output
@click.pass_obj
def list_(obj: dict[str, Any], everything: bool, output: str) -> None:
    """List the keys that work, without their secrets."""
    import json

    from api.commands.opening import opened
    from api.commands.printing import print_document, writing
    from experiments.security import keys

    now = keys.now_us()
    with opened(obj) as (store, _):
        known = keys.all_keys(store)
    found = [key for key in known if everything or key.works(now)]
    if output == "json":
        print_document(json.dumps([_document(key, now) for key in found], ensure_ascii=False, indent=2) + "\n")
        return
    with writing():
        if not found:
            state = "No key works" if known else "No key was ever made: the service is open"
            click.echo(f"{state}. Make one: equipoise keys create NAME --scope manage")
            return
        rows = [("NAME", "SELECTOR", "SCOPES", "ACK", "STATE", "EXPIRES", "LAST USED")]
        rows += [
            (
                key.name,
                key.selector,
                " ".join(key.scopes),
                key.ack,
                key.state(now),
                _time(key.expires_at) or "never",
                _time(key.last_used_at) or "never",
            )
            for key in found
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@command.command()
@click.argument("name", metavar="NAME|SELECTOR")
@click.option("--grace", default="24h", show_default=True, metavar="TIME", help="How long the old key goes on working.")
@_output
@_actor
@click.pass_obj
def rotate(obj: dict[str, Any], name: str, grace: str, output: str, actor: str) -> None:
    """Make a new key of the same name and rights beside the old one, which then ends."""
    from api.commands.opening import opened
    from experiments.errors import InputError
    from experiments.security import keys

    now = keys.now_us()
    try:
        with opened(obj) as (store, _):
            made = keys.rotate(store, name, actor=actor, grace_us=_length(grace, "--grace"), now=now)
            old = next(key for key in keys.all_keys(store) if key.selector == made.key.replaces)
    except InputError as error:
        raise UserError(str(error)) from error
    _print_new(made, output, now)
    click.echo(f"The old key {old.selector} works until {_time(old.expires_at)}.", err=True)


@command.command()
@click.argument("name", metavar="NAME|SELECTOR")
@_output
@_actor
@click.pass_obj
def revoke(obj: dict[str, Any], name: str, output: str, actor: str) -> None:
    """End a key by its selector, or every key of a name."""
    import json

    from api.commands.opening import opened
    from experiments.errors import InputError
    from experiments.security import keys

    now = keys.now_us()
    try:
        with opened(obj) as (store, _):
            ended = keys.revoke(store, name, actor=actor, now=now)
    except InputError as error:
        raise UserError(str(error)) from error
    if output == "json":
        click.echo(json.dumps([_document(key, now) for key in ended], ensure_ascii=False, indent=2))
        return
    for key in ended:
        click.echo(f"revoked {key.name} ({key.selector}); every process refuses it within a few seconds")


def _print_new(made: NewKey, output: str, now: int) -> None:
    import json

    if output == "json":
        click.echo(json.dumps({**_document(made.key, now), "key": made.text}, ensure_ascii=False, indent=2))
        return
    # The key alone on standard output, so that `KEY=$(equipoise keys create …)` works.
    click.echo(made.text)
    click.echo("Keep it now: it is not shown again. It works within a few seconds.", err=True)


def _document(key: ApiKey, now: int) -> dict[str, object]:
    return {
        "selector": key.selector,
        "name": key.name,
        "environment": key.environment,
        "scopes": list(key.scopes),
        "ack": key.ack,
        "source": key.source,
        "state": key.state(now),
        "created_at": _time(key.created_at),
        "created_by": key.created_by,
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "replaces": key.replaces,
        "last_used_at": _time(key.last_used_at),
    }


def _ends(text: str, now: int) -> int:
    """Return when a key ends: a length of time from now, or a time.

    >>> _ends("90d", 0), _ends("1970-01-01T08:00:01+08:00", 0)
    (7776000000000, 1000000)
    """
    if _LENGTH.match(text):
        return now + _length(text, "--expires")
    from datetime import UTC, datetime, timedelta

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f'--expires "{text}" is no time; write 90d, 12h or 2027-03-03T08:00:00Z') from None
    if moment.tzinfo is None:
        raise UserError(f'--expires "{text}" names no time zone; add Z or an offset such as +08:00')
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _length(text: str, option: str) -> int:
    match = _LENGTH.match(text)
    if match is None and text == "0":
        return 0
    if match is None:
        raise UserError(f'{option} "{text}" is no length of time; write a number with m, h, d or w, such as 24h')
    return int(match[1]) * _UNIT_US[match[2]]


def _time(at_us: int | None) -> str | None:
    from datetime import UTC, datetime

    if at_us is None:
        return None
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
