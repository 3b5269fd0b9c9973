"""Audiences on the pages: the form that has one made, how far it is, what it says, and the earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PureWindowsPath

from flask import Blueprint, Response, abort, make_response, redirect, request, url_for
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response as BaseResponse

from api.management.arriving import arriving
from api.management.calling import actor
from api.management.times import iso
from api.services import Services
from api.web.audience_form import AudienceForm, FormView, Wrong, form_view, limits_of, read_form
from api.web.audience_view import AudienceLine, audience_line, build_audience
from api.web.language import Language
from api.web.numbers import Numbers
from api.web.own_pages import Standing, own_pages, standing
from api.web.pages import render
from api.web.views import Account, Site
from experiments.errors import InputError
from experiments.jobs import queue
from experiments.keeping.heads import UnknownKeyError
from experiments.keeping.records import ExperimentRecord
from experiments.targeting import archive
from experiments.targeting.asking import ask, request_of
from experiments.targeting.document import Audience
from experiments.targeting.request import KIND, Limits
from experiments.uplift import archive as recommendations
from experiments.uplift.document import Recommendation

NAME = "audience_pages"
MOST = 50
"""Audiences on the list."""
RECENT = 3
"""Of them, those that stand in the report's section."""
MOST_NAME = 100


def create_blueprint(services: Services, site: Callable[[], Site], account: Callable[[], Account]) -> Blueprint:
    """Return the pages.

    Args:
        services: the store's side of the node.
        site: the deployment that the pages belong to.
        account: who looks at them.
    """
    blueprint = own_pages(NAME, site, account)

    @blueprint.get("/experiments/<key>/audiences")
    def audiences(key: str) -> Response:
        return _list_page(services, standing(site, account), _record(services, key))

    @blueprint.post("/experiments/<key>/audiences")
    def make(key: str) -> BaseResponse:
        record = _record(services, key)
        found = _latest(services, record.key)
        here = standing(site, account)
        if found is None or not found.causal:
            return _list_page(services, here, record, status=409)
        form = read_form(request.form, found)
        asked = limits_of(form, here.language)
        job = _asked(services, record.key, form, asked, here.language) if isinstance(asked, Limits) else asked
        if isinstance(job, Wrong):
            return _list_page(services, here, record, replace(form, wrong=job), 422)
        return redirect(url_for(f"{NAME}.audience", key=record.key, identity=job), code=303)

    @blueprint.get("/experiments/<key>/audiences/<identity>")
    def audience(key: str, identity: str) -> Response:
        here, record = standing(site, account), _record(services, key)
        made = next(iter(_made(services, record.key, identity)), None)
        if made is not None:
            return _audience_page(services, here, record, *made)
        return _progress_page(here, record, _job(services, record.key, identity))

    return blueprint


def recent(services: Services, key: str) -> tuple[tuple[str, Audience], ...]:
    """Return the latest audiences of an experiment, with when they were made."""
    found = archive.listed(services.store, key, limit=RECENT)
    return tuple((iso(at) or "", made) for at, made in found)


def lines_of(
    made: tuple[tuple[str, Audience], ...], found: Recommendation | None, words: Language, time_zone: str
) -> tuple[AudienceLine, ...]:
    """Return audiences as lines of a list."""
    return tuple(
        audience_line(
            each,
            at,
            found,
            url_for(f"{NAME}.audience", key=each.experiment or "", identity=each.id),
            words,
            Numbers(words, each.currency, time_zone),
        )
        for at, each in made
    )


def form_of(key: str, found: Recommendation, words: Language, filled: AudienceForm | None = None) -> FormView:
    """Return the form of an experiment's recommendation."""
    numbers = Numbers(words, found.currency or None)
    return form_view(found, url_for(f"{NAME}.make", key=key), words, numbers, filled)


def _record(services: Services, key: str) -> ExperimentRecord:
    try:
        return services.repository().experiment(key)
    except UnknownKeyError:
        abort(404)


def _latest(services: Services, key: str) -> Recommendation | None:
    kept = recommendations.latest(services.store, key)
    return None if kept is None else kept.document


def _job(services: Services, key: str, identity: str) -> queue.Job:
    """Return the job that makes an audience of the experiment."""
    try:
        job = queue.get(services.store, identity)
    except queue.UnknownJobError:
        abort(404)
    if (job.kind, job.experiment) != (KIND, key):
        abort(404)
    return job


def _made(services: Services, key: str, identity: str) -> list[tuple[Audience, str | None]]:
    """Return the audience of an id, with when it was made; nothing where there is none of this experiment."""
    if "\x00" in identity:
        abort(404)
    made = archive.find(services.store, identity)
    if made is None or made.experiment != key:
        return []
    return [(made, iso(archive.made_at(services.store, identity)))]


def _asked(services: Services, key: str, form: AudienceForm, asked: Limits, words: Language) -> str | Wrong:
    """Ask for the audience, with the list that came with the form; return its id, or what is wrong."""
    _ = words.gettext
    sent = request.files.get("list")
    try:
        if form.who == "everyone" and sent is not None and sent.filename:
            return Wrong("list", _("A file is chosen, but not the list: choose “A list”, or take the file away."))
        if form.who == "everyone":
            wanted = request_of(services.store, key, asked)
            return ask(services.store, wanted, [], name="", created_by=actor())[0].id
        if sent is None or not sent.filename:
            return Wrong("list", _("Choose the file of the list, or choose among everyone who is known."))
        with arriving(sent.stream) as found:
            if not found.size:
                return Wrong("list", _("The file is empty; send a CSV or Parquet file of members."))
            column = form.unit_column or None
            wanted = request_of(services.store, key, asked, sha256=found.sha256, unit_column=column)
            return ask(services.store, wanted, found.parts(), name=_name(sent), created_by=actor())[0].id
    except InputError as error:
        field = "unit_column" if str(error).startswith("unit_column") else ""
        return Wrong(field, str(error), english=True)


def _name(sent: FileStorage) -> str:
    """Return a file's name without the folders that some browsers write before it."""
    name = PureWindowsPath(sent.filename or "").name  # which knows both kinds of slashes
    return "".join(letter for letter in name if letter.isprintable())[-MOST_NAME:] or "list"


def _list_page(
    services: Services, here: Standing, record: ExperimentRecord, filled: AudienceForm | None = None, status: int = 200
) -> Response:
    words = here.language
    found = _latest(services, record.key)
    made = tuple((iso(at) or "", each) for at, each in archive.listed(services.store, record.key, limit=MOST))
    may = bool(here.page.account.keys_url) and found is not None and found.causal
    waiting = [
        job
        for state in ("running", "queued")
        for job in queue.listed(services.store, kind=KIND, experiment=record.key, state=state, limit=MOST)
    ]
    page = render(
        "audiences.html",
        words.tag,
        here.page,
        key=record.key,
        name=words.text(dict(record.definition.name)) or record.key,
        form=form_of(record.key, found, words, filled) if may and found is not None else None,
        recommended=found is not None and found.causal,
        waiting=[url_for(f"{NAME}.audience", key=record.key, identity=job.id) for job in waiting],
        lines=lines_of(made, found, words, here.page.site.time_zone),
        standalone=False,
        section="experiments",
    )
    return make_response(page, status)


def _progress_page(here: Standing, record: ExperimentRecord, job: queue.Job) -> Response:
    return make_response(
        render(
            "audience.html",
            here.language.tag,
            here.page,
            key=record.key,
            name=here.language.text(dict(record.definition.name)) or record.key,
            identity=job.id,
            view=None,
            job=job,
            members=here.numbers.count(job.rows_total) if job.rows_total else "",
            all_url=url_for(f"{NAME}.audiences", key=record.key),
            standalone=False,
            section="experiments",
        )
    )


def _audience_page(
    services: Services, here: Standing, record: ExperimentRecord, made: Audience, created_at: str | None
) -> Response:
    words = here.language
    kept = (
        None if made.recommendation is None else recommendations.load(services.store, record.key, made.recommendation)
    )
    found = None if kept is None else kept.document
    may = bool(here.page.account.keys_url) and found is not None
    onward = url_for("recommendation_pages.recommend", key=record.key)
    return make_response(
        render(
            "audience.html",
            words.tag,
            here.page,
            key=record.key,
            name=words.text(dict(record.definition.name)) or record.key,
            identity=made.id,
            view=build_audience(
                made, created_at, found, words, Numbers(words, made.currency, here.page.site.time_zone)
            ),
            file_url=f"/v1/experiments/{record.key}/audiences/{made.id}/file",
            json_url=f"/v1/experiments/{record.key}/audiences/{made.id}",
            segment_url=f"{onward}/segment?audience={made.id}" if may and found is not None and found.rule else "",
            draft_url=f"{onward}/draft?audience={made.id}" if may else "",
            ruled=found is not None and found.rule is not None,
            all_url=url_for(f"{NAME}.audiences", key=record.key),
            standalone=False,
            section="experiments",
        )
    )
