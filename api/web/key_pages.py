"""The pages of API keys: ``/keys``, and one each to rotate and to revoke. Plain forms; a key is shown once.

What changes something is a POST that `api.security.guard` takes from pages of ours only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flask import Blueprint, Response, abort, g, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.management.calling import actor
from api.management.times import iso
from api.security import guard
from api.security.door import Caller, closed
from api.services import Services
from api.web.key_view import Wrong, build_keys_view, grace_choices, key_line, scope_words, wrong_words
from api.web.own_pages import Standing, own_pages, standing
from api.web.pages import render
from api.web.session_pages import NAME as SESSIONS
from api.web.session_pages import keep_session
from api.web.views import Account, Site
from experiments.security import keys
from experiments.security.keys import ApiKey, ApiKeyError, NewKey

NAME = "key_pages"
DAY_US = 24 * keys.HOUR_US


class Form(NamedTuple):
    """What was filled in."""

    name: str = ""
    scopes: tuple[str, ...] = ()
    expires: str = ""
    """Days until the key ends; empty is never."""
    ack: str = "spool"
    source: str = ""
    environment: str = "live"


def account_of(services: Services) -> Callable[[], Account]:
    """Return what says who looks at a page."""

    def account() -> Account:
        caller = g.get("caller")
        if not closed(guard.door(services)):
            return Account(keys_url=url_for(f"{NAME}.list_keys"))
        if not isinstance(caller, Caller) or caller.selector is None:
            return Account(outside=True)
        return Account(
            name=caller.name.removeprefix("key:"),
            keys_url=url_for(f"{NAME}.list_keys") if caller.may("manage") else "",
            sign_out_url=url_for(f"{SESSIONS}.sign_out"),
        )

    return account


def create_blueprint(services: Services, site: Callable[[], Site], account: Callable[[], Account]) -> Blueprint:
    """Return the pages.

    Args:
        services: the store's side of the node.
        site: the deployment that the pages belong to.
        account: who looks at them.
    """
    blueprint = own_pages(NAME, site, account)

    @blueprint.get("/keys")
    def list_keys() -> Response:
        return _list_page(services, standing(site, account), Form(scopes=("manage",) if _none(services) else ()))

    @blueprint.post("/keys")
    def make_key() -> Response:
        here, now = standing(site, account), services.now_us()
        form = _form()
        days = int(form.expires) if form.expires in {"30", "90", "365"} else None
        first = _none(services)
        try:
            made = keys.create(
                services.store,
                form.name,
                form.scopes,
                actor=actor(),
                ack=form.ack,
                source=form.source,
                environment=form.environment,
                expires_at=None if days is None else now + days * DAY_US,
                now=now,
                first_manages=True,
            )
        except ApiKeyError as error:
            return _list_page(services, here, form, wrong_words(error, here.language), 422)
        services.definitions_changed()
        answer = _made_page(here, made, first=first)
        if first:  # else whoever made it would stand before the door that this closes
            keep_session(answer, made.key.selector, now)
        return answer

    @blueprint.route("/keys/<selector>/rotate", methods=["GET", "POST"])
    def rotate_key(selector: str) -> Response:
        here, key = standing(site, account), _key(services, selector)
        grace = request.form.get("grace", "24")
        hours = int(grace) if grace in {"0", "1", "24", "168"} else 24
        if request.method == "GET":
            return _rotate_page(services, here, key, hours)
        try:
            made = keys.rotate(
                services.store, selector, actor=actor(), grace_us=hours * keys.HOUR_US, now=services.now_us()
            )
        except ApiKeyError as error:
            return _rotate_page(services, here, key, hours, wrong_words(error, here.language), 409)
        services.definitions_changed()
        old = next(known for known in keys.all_keys(services.store) if known.selector == selector)
        return _made_page(here, made, old=old)

    @blueprint.route("/keys/<selector>/revoke", methods=["GET", "POST"])
    def revoke_key(selector: str) -> BaseResponse:
        here, key = standing(site, account), _key(services, selector)
        if request.method == "GET":
            return _revoke_page(services, here, key)
        try:
            keys.revoke(services.store, selector, actor=actor(), now=services.now_us())
        except ApiKeyError:  # revoked or ended meanwhile: that is what was asked for
            return redirect(url_for(f"{NAME}.list_keys"), code=303)
        services.definitions_changed()
        return redirect(url_for(f"{NAME}.list_keys"), code=303)

    return blueprint


def _none(services: Services) -> bool:
    return not keys.all_keys(services.store)


def _key(services: Services, selector: str) -> ApiKey:
    found = [key for key in keys.all_keys(services.store) if key.selector == selector]
    if not found:
        abort(404)
    return found[0]


def _form() -> Form:
    field = request.form.get
    return Form(
        name=field("name", "").strip(),
        scopes=tuple(request.form.getlist("scope")),
        expires=field("expires", ""),
        ack=field("ack", "spool"),
        source=field("source", "").strip(),
        environment=field("environment", "").strip() or "live",
    )


def _list_page(
    services: Services, here: Standing, form: Form, wrong: Wrong | None = None, status: int = 200
) -> Response:
    view = build_keys_view(
        keys.all_keys(services.store),
        here.language,
        here.numbers,
        now=services.now_us(),
        host=here.host,
        is_open=not closed(guard.door(services)),
        address=lambda key, change: url_for(f"{NAME}.{change}_key", selector=key.selector),
    )
    return make_response(
        render(
            "keys.html",
            here.language.tag,
            here.page,
            view=view,
            form=form,
            wrong=wrong,
            standalone=False,
            section="keys",
        ),
        status,
    )


def _made_page(here: Standing, made: NewKey, *, first: bool = False, old: ApiKey | None = None) -> Response:
    language = here.language
    _ = language.gettext
    old_until = ""
    if old is not None and old.expires_at is not None:
        old_until = (
            _("has ended")
            if old.expires_at <= made.key.created_at
            else _("works until %(time)s", time=here.numbers.time(iso(old.expires_at)))
        )
    return make_response(
        render(
            "key_made.html",
            here.language.tag,
            here.page,
            name=made.key.name,
            text=made.text,
            host=here.host,
            scopes=scope_words(made.key.scopes, here.language),
            ingests="ingest" in made.key.scopes,
            old_until=old_until,
            first=first,
            standalone=False,
            section="keys",
        )
    )


def _rotate_page(
    services: Services, here: Standing, key: ApiKey, hours: int, wrong: Wrong | None = None, status: int = 200
) -> Response:
    language = here.language
    _ = language.gettext
    return _change_page(
        here,
        key,
        services.now_us(),
        status,
        title=_("Rotate %(name)s", name=key.name),
        meaning=_("Makes a new key of the same name and rights. Both work until the old one ends."),
        action=_("Make the new key"),
        graces=grace_choices(here.language),
        grace=str(hours),
        wrong=wrong,
    )


def _revoke_page(services: Services, here: Standing, key: ApiKey) -> Response:
    language = here.language
    _ = language.gettext
    return _change_page(
        here,
        key,
        services.now_us(),
        200,
        title=_("Revoke %(name)s", name=key.name),
        meaning=_(
            "Requests with this key are refused within a few seconds, for good. Whoever signed in with it is out."
        ),
        action=_("Revoke the key"),
        graces=None,
        grace="",
        wrong=None,
    )


def _change_page(here: Standing, key: ApiKey, now: int, status: int, **values: object) -> Response:
    line = key_line(key, here.language, here.numbers, now=now)
    return make_response(
        render("key_change.html", here.language.tag, here.page, line=line, standalone=False, section="keys", **values),
        status,
    )
