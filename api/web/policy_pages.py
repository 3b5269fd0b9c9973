"""The pages that approve, reject or roll back a version of a policy: each asks once more, and takes a reason."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from flask import Blueprint, Response, abort, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.errors import Problem
from api.management.calling import actor
from api.management.reports import Reports
from api.services import Services
from api.web.language import Language
from api.web.own_pages import Standing, own_pages, standing
from api.web.pages import render
from api.web.views import Account, Site
from experiments.errors import InputError
from experiments.keeping.heads import UnknownKeyError
from experiments.learning import approving, versions
from experiments.learning.versions import Version
from experiments.report.bandit.words import STATES

NAME = "policy_pages"
ACTIONS = ("approve", "reject", "roll-back")
MOST_REASON = 2_000


def create_blueprint(
    services: Services, reports: Reports, site: Callable[[], Site], account: Callable[[], Account]
) -> Blueprint:
    """Return the pages.

    Args:
        services: the store's side of the node.
        reports: computes the experiment's report anew after a change.
        site: the deployment that the pages belong to.
        account: who looks at them.
    """
    blueprint = own_pages(NAME, site, account)

    @blueprint.route("/experiments/<key>/policies/<int:number>/<action>", methods=["GET", "POST"])
    def change(key: str, number: int, action: str) -> BaseResponse:
        here = standing(site, account)
        version = _version(services, key, number) if action in ACTIONS and number < 2**31 else None
        if version is None:
            abort(404)
        if request.method == "GET":
            return _page(here, version, action)
        reason = request.form.get("reason", "").strip()[:MOST_REASON] or None
        try:
            _carry_out(services, version, action, reason)
        except InputError as error:
            return _page(here, version, action, str(error), 409)
        services.definitions_changed()
        with suppress(Problem):  # the change is made, whether or not the report can be computed just now
            reports.compute(key)
        return redirect(url_for("web.experiment", key=key) + "#pv", code=303)

    return blueprint


def _version(services: Services, key: str, number: int) -> Version | None:
    try:
        services.repository().experiment(key)
    except UnknownKeyError:
        return None
    with services.store.read() as connection:
        return next((v for v in versions.read(connection, key) if v.version == number), None)


def _carry_out(services: Services, version: Version, action: str, reason: str | None) -> None:
    who, now = actor(), services.now_us()
    if action == "approve":
        approving.approve(services.store, version.experiment, version.version, actor=who, reason=reason, now=now)
    elif action == "reject":
        approving.reject(services.store, version.experiment, version.version, actor=who, reason=reason, now=now)
    elif version.state not in {"live", "ramping"}:
        raise InputError(
            f"policy version {version.version} of {version.experiment} does not draw: nothing to roll back"
        )
    else:
        approving.roll_back(services.store, version.experiment, actor=who, reason=reason, now=now)


def _page(here: Standing, version: Version, action: str, wrong: str = "", status: int = 200) -> Response:
    words = here.language
    title, meaning, button = _words(version, action, words)
    return make_response(
        render(
            "policy_change.html",
            words.tag,
            here.page,
            key=version.experiment,
            title=title,
            meaning=meaning,
            action=button,
            harmful=action != "approve",
            needs_reason=action == "approve" and version.state == "blocked",
            state=words.text(STATES.get(version.state, {})) or version.state,
            version=version,
            wrong=wrong,
            standalone=False,
            section="experiments",
        ),
        status,
    )


def _words(version: Version, action: str, language: Language) -> tuple[str, str, str]:
    _ = language.gettext
    v = f"v{version.version}"
    if action == "approve":
        return (
            _("Approve %(version)s", version=v),
            _("Its ramp begins: it draws for a first share of the members, and for more of them step by step."),
            _("Approve"),
        )
    if action == "reject":
        return (
            _("Reject %(version)s", version=v),
            _("It never draws. One that is being ramped up is taken back from its members at once."),
            _("Reject"),
        )
    return (
        _("Roll back %(version)s", version=v),
        _("It stops drawing at once, and the version before it takes over. The next version waits for approval."),
        _("Roll back"),
    )
