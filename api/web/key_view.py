"""What the page of API keys shows: one line for each key, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.management.times import iso
from api.web.language import Language
from api.web.numbers import Numbers
from api.web.vocabulary import Badge
from experiments.security.keys import ApiKey, ApiKeyError


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key."""

    name: str
    start: str
    """What its text begins with, as far as that is no secret."""
    scopes: str
    notes: str
    badge: Badge
    until: str
    used: str
    created: str
    created_by: str
    rotate_url: str
    """Empty where it cannot be rotated."""
    revoke_url: str


@dataclass(frozen=True, slots=True)
class ScopeLine:
    """One right that a key may have."""

    key: str
    word: str
    meaning: str


@dataclass(frozen=True, slots=True)
class KeysView:
    """The whole page."""

    open: bool
    """Whether the service still takes requests without a key."""
    host: str
    live: list[KeyLine]
    ended: list[KeyLine]
    scopes: list[ScopeLine]
    lives: list[tuple[str, str]]
    acks: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a form."""

    field: str
    message: str


def build_keys_view(
    keys: Sequence[ApiKey],
    language: Language,
    numbers: Numbers,
    *,
    now: int,
    host: str,
    is_open: bool,
    address: Callable[[ApiKey, str], str],
) -> KeysView:
    """Return what the page shows.

    Args:
        keys: all there ever were.
        language: the reader's language.
        numbers: of that language and the project's time zone.
        now: microseconds since 1970 UTC.
        host: where callers send requests to.
        is_open: whether no key is needed yet.
        address: of a page that changes a key: ``(key, "rotate" | "revoke") → URL``.
    """
    _ = language.gettext
    working = [key for key in keys if key.works(now)]
    rotating = {key.name for key in working if sum(other.name == key.name for other in working) > 1}
    return KeysView(
        open=is_open,
        host=host,
        live=[
            key_line(
                key,
                language,
                numbers,
                now=now,
                rotate_url="" if key.name in rotating else address(key, "rotate"),
                revoke_url=address(key, "revoke"),
            )
            for key in working
        ],
        ended=[key_line(key, language, numbers, now=now) for key in keys if not key.works(now)],
        scopes=[
            ScopeLine("decide", _("Ask for variants"), _("For campaign systems and apps.")),
            ScopeLine("ingest", _("Report what happened"), _("For shops, tills and customer data platforms.")),
            ScopeLine(
                "report", _("Read reports"), _("Experiments, reports and these pages, without changing anything.")
            ),
            ScopeLine("manage", _("Manage"), _("Change experiments and make keys; reads reports as well.")),
        ],
        lives=[("", _("without end")), *((str(days), _days(language, days)) for days in (30, 90, 365))],
        acks=[
            ("spool", _("on this node’s disk")),
            ("store", _("in the database")),
            ("none", _("taken, not yet on any disk")),
        ],
    )


def key_line(
    key: ApiKey, language: Language, numbers: Numbers, *, now: int, rotate_url: str = "", revoke_url: str = ""
) -> KeyLine:
    """Return one key as a line."""
    _ = language.gettext
    never = _("never")
    return KeyLine(
        name=key.name,
        start=f"eqp_{key.environment}_{key.selector}",
        scopes=scope_words(key.scopes, language),
        notes=_notes(key, language),
        badge=_badge(key, language, now),
        until=_until(key, language, numbers),
        used=never if key.last_used_at is None else numbers.time(iso(key.last_used_at)),
        created=numbers.date(iso(key.created_at)),
        created_by=key.created_by,
        rotate_url=rotate_url,
        revoke_url=revoke_url,
    )


def scope_words(scopes: Sequence[str], language: Language) -> str:
    """Return rights as language."""
    _ = language.gettext
    named = {
        "decide": _("Ask for variants"),
        "ingest": _("Report what happened"),
        "report": _("Read reports"),
        "manage": _("Manage"),
    }
    return " · ".join(named[scope] for scope in scopes)


def grace_choices(language: Language) -> list[tuple[str, str]]:
    """Return how long the old key of a rotation may go on: hours, and words for them."""
    _ = language.gettext
    return [
        ("0", _("no time: it ends now")),
        ("1", _("an hour")),
        ("24", _days(language, 1)),
        ("168", _days(language, 7)),
    ]


def wrong_words(error: ApiKeyError, language: Language) -> Wrong:
    """Return what is wrong in the reader's language."""
    _ = language.gettext
    said = {
        "bad_name": _("A name is 1 to 64 of a-z, 0-9, - and _, and begins with a letter or digit."),
        "in_use": _("A key of this name is in use. Rotate or revoke it, or choose another name."),
        "no_scope": _("Say what the key may do: tick at least one."),
        "first_manages": _("The first key closes the service, so it must be allowed to manage: tick that."),
        "bad_source": _("A source is 1 to 64 letters, digits or . _ : -"),
        "bad_environment": _("The label is 1 to 16 of a-z and 0-9."),
        "two_live": _("Two keys of this name work already. Revoke one, or wait until the older one has ended."),
        "unknown": _("This key no longer works, so there is nothing to change."),
    }
    return Wrong(error.field, said.get(error.code, str(error)))


def _notes(key: ApiKey, language: Language) -> str:
    _ = language.gettext
    notes = []
    if key.ack == "store":
        notes.append(_("answers once rows are in the database"))
    elif key.ack == "none":
        notes.append(_("answers before rows are on a disk"))
    if key.source:
        notes.append(_("source: %(source)s", source=key.source))
    return " · ".join(notes)


def _badge(key: ApiKey, language: Language, now: int) -> Badge:
    _ = language.gettext
    return {
        "live": Badge(_("Works"), "ok", "good"),
        "ending": Badge(_("Being replaced"), "clock", "warn"),
        "expired": Badge(_("Has ended"), "dash", ""),
        "revoked": Badge(_("Revoked"), "no", ""),
    }[key.state(now)]


def _until(key: ApiKey, language: Language, numbers: Numbers) -> str:
    _ = language.gettext
    if key.revoked_at is not None:
        return numbers.time(iso(key.revoked_at))
    if key.expires_at is not None:
        return _("until %(time)s", time=numbers.time(iso(key.expires_at)))
    return _("without end")


def _days(language: Language, days: int) -> str:
    return language.ngettext("%(num)s day", "%(num)s days", days)
