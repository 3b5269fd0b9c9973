"""``equipoise webhooks``: set, list, try and remove webhooks, and see what became of their messages."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError

if TYPE_CHECKING:
    from experiments.store import Store
    from experiments.webhooks.hooks import Message, Webhook

_output = click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
_actor = click.option(
    "--actor", default="cli", show_default=True, envvar="EQUIPOISE_ACTOR", help="Who does it, for the audit."
)


@click.group()
def command() -> None:
    """Set, list, try and remove webhooks.

    Messages are sent by the process that does the deployment's jobs: a running `serve` or `worker`.
    """


@command.command()
@click.argument("url")
@click.option("--event", "events", multiple=True, metavar="NAME", help="What to tell of; repeat for more; default all.")
@_output
@_actor
@click.pass_obj
def add(obj: dict[str, Any], url: str, events: tuple[str, ...], output: str, actor: str) -> None:
    """Tell URL of events; print the secret that signs the messages, which is shown this once."""
    from experiments.webhooks import hooks
    from experiments.webhooks.addresses import private_allowed

    with _opened(obj, create=True) as store:
        hook, secret = hooks.create(store, url, events, actor=actor, allow_private=private_allowed())
    _print_new(hook, secret, output)


@command.command("list")
@_output
@click.pass_obj
def list_(obj: dict[str, Any], output: str) -> None:
    """List the webhooks, without their secrets."""
    from experiments.webhooks import hooks

    with _opened(obj) as store:
        found = hooks.listed(store)
    if output == "json":
        _print([_document(hook) for hook in found])
        return
    if not found:
        click.echo("There are no webhooks. Set one: equipoise webhooks add https://HOST/PATH")
    rows = [("ID", "STATE", "EVENTS", "URL")]
    rows += [(hook.id, _state(hook), ", ".join(hook.events) or "all", hook.url) for hook in found]
    _table(rows if found else [])


@command.command()
@click.argument("webhook")
@click.option("--overlap", default=24.0, show_default=True, metavar="HOURS", help="How long the old one signs too.")
@_output
@_actor
@click.pass_obj
def rotate(obj: dict[str, Any], webhook: str, overlap: float, output: str, actor: str) -> None:
    """Give WEBHOOK a new secret and print it; messages are signed with both for a while."""
    from experiments.webhooks import hooks

    if not 0 <= overlap <= 24 * 30:
        raise UserError("--overlap is a number of hours from 0 to 720")
    with _opened(obj) as store:
        hook, secret = hooks.rotate(store, webhook, actor=actor, overlap_s=round(overlap * 3600))
    _print_new(hook, secret, output)


@command.command()
@click.argument("webhook")
@_output
@click.pass_obj
def ping(obj: dict[str, Any], webhook: str, output: str) -> None:
    """Have a message sent to WEBHOOK that says nothing, to see whether messages arrive."""
    from experiments.webhooks import hooks

    with _opened(obj) as store:
        message = hooks.ping(store, webhook)
    if output == "json":
        _print(_message(message))
        return
    click.echo(f"{message.id} will be sent; see equipoise webhooks deliveries {webhook}")


@command.command()
@click.argument("webhook")
@_output
@_actor
@click.pass_obj
def resume(obj: dict[str, Any], webhook: str, output: str, actor: str) -> None:
    """Make WEBHOOK active again, after it was disabled."""
    from experiments.webhooks import hooks

    with _opened(obj) as store:
        hook = hooks.update(store, webhook, actor=actor, active=True)
    if output == "json":
        _print(_document(hook))
        return
    click.echo(f"{webhook} is active. To send a message again that failed:")
    click.echo(f"  equipoise webhooks deliveries {webhook} --again MESSAGE")


@command.command()
@click.argument("webhook")
@_actor
@click.pass_obj
def remove(obj: dict[str, Any], webhook: str, actor: str) -> None:
    """Remove WEBHOOK and its messages."""
    from experiments.webhooks import hooks

    with _opened(obj) as store:
        hooks.delete(store, webhook, actor=actor)
    click.echo(f"Removed {webhook}.")


@command.command()
@click.argument("webhook")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@click.option("--again", "message", metavar="MESSAGE", help="Send this message again, from the beginning.")
@_output
@click.pass_obj
def deliveries(obj: dict[str, Any], webhook: str, limit: int, message: str | None, output: str) -> None:
    """Say what became of the messages to WEBHOOK."""
    from experiments.webhooks import hooks

    with _opened(obj) as store:
        if message is not None:
            hooks.redeliver(store, webhook, message)
        found = hooks.messages(store, webhook, limit=limit)
    if output == "json":
        _print([_message(each) for each in found])
        return
    if not found:
        click.echo("There are no messages yet.")
    rows = [("MESSAGE", "EVENT", "STATE", "ATTEMPTS", "NEXT", "LAST")]
    for each in found:
        last = each.last_error or ("" if each.last_status is None else str(each.last_status))
        rows.append((each.id, each.type, each.state, str(each.attempts), _time(each.next_at), last))
    _table(rows if found else [])


@contextlib.contextmanager
def _opened(obj: dict[str, Any], *, create: bool = False) -> Iterator[Store]:
    from api.commands.opening import opened
    from api.commands.printing import writing
    from experiments.errors import InputError

    try:
        with writing(), opened(obj, create=create) as (store, _):
            yield store
    except InputError as error:
        raise UserError(str(error)) from error


def _print_new(hook: Webhook, secret: str, output: str) -> None:
    if output == "json":
        _print({**_document(hook), "secret": secret})
        return
    click.echo(f"{hook.id} is told of {', '.join(hook.events) or 'all events'}.")
    click.echo(f"Secret (shown this once): {secret}")


def _document(hook: Webhook) -> dict[str, Any]:
    return {
        **hook.__dict__,
        "events": list(hook.events),
        "created_at": _time(hook.created_at),
        "updated_at": _time(hook.updated_at),
    }


def _message(message: Message) -> dict[str, Any]:
    times = {name: getattr(message, name) for name in ("created_at", "next_at", "last_at")}
    return {
        **message.__dict__,
        "payload": json.loads(message.payload),
        **{name: None if at is None else _time(at) for name, at in times.items()},
    }


def _state(hook: Webhook) -> str:
    if hook.active:
        return "active"
    return f"disabled: {hook.disabled_reason}" if hook.disabled_reason else "paused"


def _time(at: int | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def _print(content: object) -> None:
    from api.commands.printing import print_document

    print_document(json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
