"""What the section "Who to send it to" can do: have it computed, save its group as a segment, draft the test of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Blueprint, Response, abort, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.management.calling import actor
from api.services import Services
from api.web import audience_pages
from api.web.language import Language, language
from api.web.own_pages import Standing, own_pages, standing
from api.web.pages import render
from api.web.recommendation_view import Standing as Shown
from api.web.standing import asked_language
from api.web.views import Account, Site
from experiments.definitions.errors import DefinitionError
from experiments.errors import InputError
from experiments.jobs.latest import course
from experiments.keeping.heads import StaleVersionError, UnknownKeyError
from experiments.keeping.records import ExperimentRecord
from experiments.targeting import archive as audiences
from experiments.targeting.document import Audience
from experiments.uplift import archive, asking
from experiments.uplift.document import Recommendation
from experiments.uplift.of_experiment import not_over
from experiments.uplift.options import Wanted

NAME = "recommendation_pages"
ACTIONS = ("segment", "draft")
MOST_KEY = 64


def create_blueprint(services: Services, site: Callable[[], Site], account: Callable[[], Account]) -> Blueprint:
    """Return the pages.

    Args:
        services: the store's side of the node.
        site: the deployment that the pages belong to.
        account: who looks at them.
    """
    blueprint = own_pages(NAME, site, account)

    @blueprint.post("/experiments/<key>/recommendation")
    def recommend(key: str) -> BaseResponse:
        record = _record(services, key)
        if not_over(record):
            abort(404)
        if course(services.store, asking.KIND, key).under_way is None:
            with services.store.begin() as connection:
                asking.ask_for_recommendation(connection, record, Wanted(), actor())
        return redirect(url_for("web.experiment", key=key) + "#wh", code=303)

    @blueprint.route("/experiments/<key>/recommendation/<action>", methods=["GET", "POST"])
    def carry_on(key: str, action: str) -> BaseResponse:
        record = _record(services, key)
        audience = _audience(services, record.key)
        number = None if audience is None else audience.recommendation
        kept = None
        if action in ACTIONS:
            kept = (archive.latest if number is None else partial(archive.load, number=number))(
                services.store, record.key
            )
        if kept is None or not kept.document.causal or (action == "segment" and kept.document.rule is None):
            abort(404)
        here = standing(site, account)
        if request.method == "GET":
            return _page(here, kept.document, key, action, f"{key}-{'target' if action == 'segment' else 'policy'}")
        wished = request.form.get("key", "").strip()[:MOST_KEY]
        try:
            target = _carry_out(services, kept.document, action, wished, audience)
        except (InputError, DefinitionError, StaleVersionError) as error:
            return _page(here, kept.document, key, action, wished, str(error), 409)
        services.definitions_changed()
        return redirect(target, code=303)

    return blueprint


def standing_of(services: Services, key: str, *, may_change: bool) -> Shown | None:
    """Return where the recommendation from an experiment stands, ``None`` where there is none and can be none."""
    try:
        record = services.repository().experiment(key)
    except UnknownKeyError:
        return None
    definition = record.definition
    kept = archive.latest(services.store, key)
    analysis = definition.analysis
    possible = not_over(record) is None and not (
        definition.allocation is not None or analysis.switchback or analysis.randomised_by_cluster
    )
    if kept is None and not possible:
        return None
    asked = course(services.store, asking.KIND, key)
    return Shown(
        document=None if kept is None else kept.document,
        number=None if kept is None else kept.number,
        under_way=asked.under_way is not None,
        failure=asked.failure or "",
        possible=possible,
        url=url_for(f"{NAME}.recommend", key=key),
        may_change=may_change,
        **_audiences(services, key, None if kept is None else kept.document, may_change=may_change),
    )


def _audiences(services: Services, key: str, found: Recommendation | None, *, may_change: bool) -> dict[str, Any]:
    """Return what the section says of audiences: the latest ones, and for who may make one the form."""
    if found is None or not found.causal:
        return {}
    words = language(asked_language())
    zone = services.repository().project().time_zone
    return {
        "audiences_url": url_for(f"{audience_pages.NAME}.audiences", key=key),
        "form": audience_pages.form_of(key, found, words) if may_change else None,
        "audiences": audience_pages.lines_of(audience_pages.recent(services, key), found, words, zone),
    }


def _record(services: Services, key: str) -> ExperimentRecord:
    try:
        return services.repository().experiment(key)
    except UnknownKeyError:
        abort(404)


def _audience(services: Services, key: str) -> Audience | None:
    """Return the audience that the address names, whose recommendation is meant; ``None`` where it names none."""
    identity = request.args.get("audience", "")
    if not identity:
        return None
    found = None if "\x00" in identity else audiences.find(services.store, identity)
    if found is None or found.experiment != key:
        abort(404)
    return found


def _carry_out(services: Services, document: Recommendation, action: str, key: str, audience: Audience | None) -> str:
    """Save the segment, or make the draft; return where to go then."""
    repository = services.repository()
    if action == "segment":
        from experiments.targeting import segment

        segment.save(repository, document, key, actor())
        return url_for("web.experiment", key=document.experiment) + "#wh"
    from experiments.targeting import draft

    return url_for("web.experiment", key=draft.create(repository, document, key, actor(), audience=audience).key)


def _page(
    here: Standing, document: Recommendation, key: str, action: str, wished: str, wrong: str = "", status: int = 200
) -> Response:
    words = here.language
    title, meaning, button = _words(action, words)
    return make_response(
        render(
            "recommendation_change.html",
            words.tag,
            here.page,
            key=key,
            title=title,
            meaning=meaning,
            action=button,
            rule=words.text(document.rule_text) if action == "segment" else "",
            wished=wished[:MOST_KEY],
            wrong=wrong,
            standalone=False,
            section="experiments",
        ),
        status,
    )


def _words(action: str, language: Language) -> tuple[str, str, str]:
    _ = language.gettext
    if action == "segment":
        return (
            _("Save as segment"),
            _("Experiments, lists and reports can name the group then; it follows its rule as members change."),
            _("Save as segment"),
        )
    return (
        _("Test it in an experiment"),
        _("A draft with control, the best single offer for all, and each member's own offer; nothing starts yet."),
        _("Create the draft"),
    )
