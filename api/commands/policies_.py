"""``equipoise policies``: see what an experiment has learned, let versions pass, take them back, take variants out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli import UserError

if TYPE_CHECKING:
    from experiments.settings import Settings
    from experiments.store import Store

_output = click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
_actor = click.option(
    "--actor", default="cli", show_default=True, envvar="EQUIPOISE_ACTOR", help="Who does it, for the audit."
)
_reason = click.option("--reason", help="Why, for the audit.")
_experiment = click.argument("experiment")
_version = click.argument("version", type=click.IntRange(min=1))
_variant = click.argument("variant")


@click.group()
def command() -> None:
    """See what experiments have learned, and decide which version of a policy members meet.

    The gate lets versions pass by itself unless the definition asks for approval; see docs/bandits.md.
    """


@command.command("list")
@_experiment
@_output
@click.pass_obj
def list_(obj: dict[str, Any], experiment: str, output: str) -> None:
    """List the versions of EXPERIMENT's policy, the last one first, and the variants that are taken out."""
    from experiments.keeping.heads import read_experiment
    from experiments.learning import versions
    from experiments.learning.shown import mask_documents, version_document

    with _opened(obj) as (store, _), store.read() as connection:
        read_experiment(connection, experiment)
        found = [version_document(version) for version in reversed(versions.read(connection, experiment))]
        masks = mask_documents(connection, experiment)
    if output == "json":
        _print({"versions": found, "masked": masks})
        return
    if not found:
        click.echo(f"{experiment} has learned nothing yet: every eligible variant is as likely as the others.")
    rows = [("VERSION", "STATE", "SHARE", "POLICY", "ROWS", "TRAINED", "GATE")]
    rows += [
        (
            str(each["version"]), each["state"], each["share"], each["policy"], f"{each['rows']:,}",
            each["trained_at"], _found(each["gate"]),
        )
        for each in found
    ]  # fmt: skip
    _table(rows if found else [])
    for mask in masks:
        click.echo(f"{mask['variant']} is taken out since {mask['since']} by {mask['actor']}: {mask['reason'] or '-'}")


@command.command()
@_experiment
@click.argument("version", type=click.IntRange(min=1), required=False)
@_output
@click.pass_obj
def show(obj: dict[str, Any], experiment: str, version: int | None, output: str) -> None:
    """Show one VERSION of EXPERIMENT's policy, by default the last one: how it was learned, what the gate found."""
    from experiments.keeping.heads import read_experiment
    from experiments.learning import versions
    from experiments.learning.shown import version_document

    with _opened(obj) as (store, _), store.read() as connection:
        read_experiment(connection, experiment)
        known = versions.read(connection, experiment)
        if version is None and not known:
            raise UserError(f"{experiment} has learned nothing yet")
        found = known[-1] if version is None else versions.one(connection, experiment, version)
    document = version_document(found)
    if output == "json":
        _print(document)
        return
    click.echo(f"Version {found.version} of {experiment}: {found.state}, share {found.share}")
    click.echo(f"  {found.policy}, {found.origin}, trained {document['trained_at']} from {found.rows:,} decisions")
    click.echo(f"  file {found.sha256}")
    for line in _gate_lines(document["gate"]):
        click.echo(f"  {line}")


@command.command()
@_experiment
@_version
@_reason
@_actor
@click.pass_obj
def approve(obj: dict[str, Any], experiment: str, version: int, reason: str | None, actor: str) -> None:
    """Let VERSION of EXPERIMENT's policy pass: its ramp begins. One that the gate blocked needs a reason."""
    from experiments.learning import approving

    with _opened(obj) as (store, settings):
        moved = approving.approve(store, experiment, version, actor=actor, reason=reason)
        _publish(store, settings)
    share = "everybody" if moved.state == "live" else f"a share of {moved.share} of the members"
    click.echo(f"version {version} of {experiment} is {moved.state}: it draws for {share}")


@command.command()
@_experiment
@_version
@_reason
@_actor
@click.pass_obj
def reject(obj: dict[str, Any], experiment: str, version: int, reason: str | None, actor: str) -> None:
    """Refuse VERSION of EXPERIMENT's policy for ever."""
    from experiments.learning import approving

    with _opened(obj) as (store, settings):
        approving.reject(store, experiment, version, actor=actor, reason=reason)
        _publish(store, settings)
    click.echo(f"version {version} of {experiment} is rejected")


@command.command("roll-back")
@_experiment
@click.option("--to", type=click.IntRange(min=0), help="Version that shall draw; 0 draws evenly [default: the last].")
@_reason
@_actor
@click.pass_obj
def roll_back(obj: dict[str, Any], experiment: str, to: int | None, reason: str | None, actor: str) -> None:
    """Take back the version of EXPERIMENT's policy that is ramped up, or else the live one, at once.

    The version after it waits for approval.
    """
    from experiments.learning import approving

    with _opened(obj) as (store, settings):
        back = approving.roll_back(store, experiment, actor=actor, reason=reason, to=to)
        _publish(store, settings)
    draws = "every eligible variant is as likely as the others" if back is None else f"version {back.version} draws"
    click.echo(f"rolled back: {draws} in {experiment}")


@command.command()
@_experiment
@_variant
@_reason
@_actor
@click.pass_obj
def mask(obj: dict[str, Any], experiment: str, variant: str, reason: str | None, actor: str) -> None:
    """Take VARIANT out of EXPERIMENT: nobody gets it until it is put back."""
    from experiments.learning import approving

    with _opened(obj) as (store, settings):
        out = approving.mask(store, experiment, variant, actor=actor, reason=reason)
        _publish(store, settings)
    click.echo(f"taken out of {experiment}: {', '.join(out)}")


@command.command()
@_experiment
@_variant
@_reason
@_actor
@click.pass_obj
def unmask(obj: dict[str, Any], experiment: str, variant: str, reason: str | None, actor: str) -> None:
    """Put VARIANT back into EXPERIMENT."""
    from experiments.learning import approving

    with _opened(obj) as (store, settings):
        out = approving.unmask(store, experiment, variant, actor=actor, reason=reason)
        _publish(store, settings)
    click.echo(f"{variant} can be drawn again in {experiment}; taken out: {', '.join(out) or 'none'}")


@command.command("import")
@_experiment
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--arm", "arms", multiple=True, metavar="ARM=VARIANT", help="mabwiser: an arm's variant; repeatable.")
@click.option("--feature", "features", multiple=True, metavar="NAME", help="mabwiser: its contexts' columns, in order.")
@click.option("--pickle", is_flag=True, help="Read a pickled MAB. A pickle can run code: only one of your own making.")
@_actor
@click.pass_obj
def import_(
    obj: dict[str, Any],
    experiment: str,
    file: Path,
    arms: Sequence[str],
    features: Sequence[str],
    pickle: bool,
    actor: str,
) -> None:
    """Bring in a policy for EXPERIMENT: a mabwiser model (JSON, or a pickle), or a version's own file.

    It becomes the next version; the gate judges it with the next update, or approve it.
    """
    from experiments.learning.importing import bring

    named = {}
    for text in arms:
        arm, equals, variant = text.partition("=")
        if not (arm and equals and variant):
            raise UserError(f'--arm "{text}" is not ARM=VARIANT, such as --arm 1=coupon')
        named[arm] = variant
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    with _opened(obj) as (store, _):
        found = bring(
            store, experiment, data, actor=actor, name=file.name, arms=named or None, features=features or None,
            pickles=pickle,
        )  # fmt: skip
    for warning in found.warnings:
        click.echo(f"note: {warning}", err=True)
    click.echo(f"{file.name} is version {found.version.version} of {experiment}, a {found.version.state}")


@command.command()
@_experiment
@click.option("--here", is_flag=True, help="Learn in this process and wait; by default a worker does it.")
@_output
@_actor
@click.pass_obj
def learn(obj: dict[str, Any], experiment: str, here: bool, output: str, actor: str) -> None:
    """Have a new version of EXPERIMENT's policy made now from what has matured, and the gate run."""
    from experiments.keeping.heads import read_experiment
    from experiments.learning.approving import PolicyError
    from experiments.learning.cadence import ask_for_update

    with _opened(obj) as (store, settings):
        with store.begin() as connection:
            record = read_experiment(connection, experiment)
            if record.definition.allocation is None:
                raise PolicyError(f"experiment {experiment} draws by the hash: it has no policy")
            job = None if here else ask_for_update(connection, record, actor)
        result = _learn_here(store, settings, experiment, actor) if job is None else {"job": job}
        if job is None:
            _publish(store, settings)
    if output == "json":
        _print(result)
    elif job is not None:
        click.echo(f"{job} is in the queue; a running serve or worker does it")
    elif result["version"] is None:
        click.echo(f"no new version of {experiment}: {str(result['why']).replace('_', ' ')}")
    else:
        click.echo(f"version {result['version']} of {experiment} is {result['state']}")


def _learn_here(store: Store, settings: Settings, experiment: str, actor: str) -> dict[str, Any]:
    import threading
    import time

    from experiments.jobs.queue import Job
    from experiments.learning.handler import update

    now = time.time_ns() // 1000
    job = Job(
        id=f"learn-{experiment}-here-{now}", kind="learn", experiment=experiment, state="running",
        params={"force": True}, created_at=now, created_by=actor, not_before=now, started_at=now, finished_at=None,
        rows_done=0, rows_total=None, attempts=1, holder=None, heartbeat_at=now, result=None, error=None,
    )  # fmt: skip
    return dict(update(store, settings, job, lambda _done, _total: None, threading.Event()))


@contextlib.contextmanager
def _opened(obj: dict[str, Any]) -> Iterator[tuple[Store, Settings]]:
    from api.commands.opening import opened
    from api.commands.printing import writing
    from experiments.errors import InputError

    try:
        with writing(), opened(obj) as pair:
            yield pair
    except InputError as error:
        raise UserError(str(error)) from error


def _publish(store: Store, settings: Settings) -> None:
    from experiments.log.spool_file import SpoolError
    from experiments.publishing.publish import publish

    try:
        publish(store, settings)
    except SpoolError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{settings.snapshot_dir}: cannot publish the snapshot: {error.strerror}") from error


def _found(gate: dict[str, Any]) -> str:
    if not gate:
        return "-"
    return "passed" if gate["passed"] else "blocked: " + ", ".join(gate["reasons"])


def _gate_lines(gate: dict[str, Any]) -> Iterator[str]:
    if not gate:
        yield "gate: has not run"
        return
    from experiments.learning.gate import REASONS

    other = f"version {gate['compared_with']}" if gate["compared_with"] else "an even draw"
    yield f"gate: {'passed' if gate['passed'] else 'blocked'}, compared with {other}"
    yield from (f"  {reason}: {REASONS[reason]}" for reason in gate["reasons"])
    if gate["difference"] is not None:
        level = (1 - gate["alpha"]) * 100
        bounds = (
            "" if gate["ci_high"] is None else f", {level:g} % bounds {gate['ci_low']:.4g} and {gate['ci_high']:.4g}"
        )
        yield f"  difference {gate['difference']:+.4g} a decision{bounds}; the live one earns {gate['value_live']:.4g}"
    yield f"  {gate['rows']:,} decisions, {gate['effective']:,.0f} of them effective; {gate['needed']:,.0f} needed"
    drifts = [f"{name} {index:.2f}" for name, index in gate["drift"].items() if index is not None]
    if drifts:
        yield f"  drift: {', '.join(drifts)}"
    if gate["noticeable"] is not None:
        yield f"  a loss of {gate['noticeable']:.1%} would have been noticed with 80 % probability"


def _print(content: object) -> None:
    from api.commands.printing import print_document

    print_document(json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
