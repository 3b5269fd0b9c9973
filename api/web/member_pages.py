"""The page of members: ``/members``, and the button that has the stages computed now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, abort, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.management.calling import actor
from api.services import Services
from api.web.language import Language
from api.web.members_view import build_members_view
from api.web.numbers import Numbers
from api.web.own_pages import Standing, own_pages, standing
from api.web.pages import render
from api.web.segments_view import SegmentsView, build_segments_view
from api.web.views import Account, Site
from experiments.definitions import StageRule
from experiments.definitions.catalogue import Catalogue
from experiments.jobs import queue
from experiments.keeping.heads import Head
from experiments.report.audience import Names
from experiments.segments.asking import latest as latest_sizes
from experiments.stages.asking import FIRST_WEEKS, KIND, ask_now
from experiments.stages.showing import WEEKS, stages_document

NAME = "member_pages"


def create_blueprint(services: Services, site: Callable[[], Site], account: Callable[[], Account]) -> Blueprint:
    """Return the pages.

    Args:
        services: the store's side of the node.
        site: the deployment that the pages belong to.
        account: who looks at them.
    """
    blueprint = own_pages(NAME, site, account)

    @blueprint.get("/members")
    def members() -> Response:
        return make_response(_members(services, standing(site, account)))

    @blueprint.post("/members/compute")
    def compute() -> BaseResponse:
        key = request.form.get("rule", "")[:64]
        if key not in _rules(services.repository().catalogue()):
            abort(404)
        if not _under_way(services, key):
            with services.store.begin() as connection:
                ask_now(connection, key, actor(), weeks=FIRST_WEEKS)
        return redirect(url_for(f"{NAME}.members", rule=key), code=303)

    return blueprint


def _members(services: Services, here: Standing) -> str:
    heads = services.repository().heads()
    catalogue = Catalogue({name: head.definition for name, head in heads.items()})
    rules = _rules(catalogue)
    page = replace(here.page, path="/members")
    words = here.language
    segments = _segments(services, heads, catalogue, words)
    common = {"section": "members", "standalone": False, "segments": segments}
    if not rules:
        return render("members_none.html", words.tag, page, stated=_stated(catalogue, words), **common)
    asked = request.args.get("rule", "")
    key = asked if asked in rules else next(iter(rules))
    document = stages_document(services.store, key, weeks=WEEKS)
    under_way = _under_way(services, key)
    may = bool(page.account.keys_url)
    if document.as_of is None or not document.units:
        return render(
            "members_none.html",
            words.tag,
            page,
            rule=key,
            computed=document.as_of is not None,
            may_compute=may,
            under_way=under_way,
            stated=(),
            **common,
        )
    numbers = Numbers(words, document.currency, document.time_zone)
    now = datetime.fromtimestamp(services.now_us() / 1e6, UTC).astimezone(ZoneInfo(document.time_zone))
    view = build_members_view(
        document,
        words,
        numbers,
        rules={rule: dict(each.name or {}) for rule, each in rules.items()},
        week=request.args.get("week", "")[:10],
        today=now.date(),
        under_way=under_way,
    )
    return render("members.html", words.tag, page, view=view, may_compute=may, under_way=under_way, **common)


def _rules(catalogue: Catalogue) -> dict[str, StageRule]:
    """Return the rules that are computed here, by key."""
    found = [rule for rule in catalogue.definitions.values() if isinstance(rule, StageRule) and rule.computed]
    return {rule.key: rule for rule in sorted(found, key=lambda rule: rule.key)}


def _stated(catalogue: Catalogue, words: Language) -> tuple[str, ...]:
    """Return the names of rules whose stages another system states."""
    rules = [rule for rule in catalogue.definitions.values() if isinstance(rule, StageRule)]
    return tuple(words.text(dict(rule.name or {})) or rule.key for rule in rules)


def _under_way(services: Services, key: str) -> bool:
    """Return whether a computing of the rule waits or runs."""
    found = [
        *queue.listed(services.store, kind=KIND, state="queued", limit=50),
        *queue.listed(services.store, kind=KIND, state="running", limit=50),
    ]
    return any(job.params.get("rule") == key for job in found)


def _segments(
    services: Services, heads: dict[tuple[str, str], Head], catalogue: Catalogue, words: Language
) -> SegmentsView:
    project = catalogue.project
    numbers = None if project is None else Numbers(words, project.currency, project.time_zone)
    return build_segments_view(heads, Names.of(catalogue), latest_sizes(services.store), words, numbers)
