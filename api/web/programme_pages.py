"""The page of the programme: ``/programme``, and the forms that have its figures computed.

It shows what jobs have left: DuckDB never reads the log in a process that answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from flask import Blueprint, Response, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.management.calling import actor
from api.services import Services
from api.web.language import Language
from api.web.numbers import Numbers
from api.web.own_pages import Standing, own_pages, standing
from api.web.pages import render
from api.web.programme_view import build_programme_view
from api.web.surrogate_view import SurrogateView, build_surrogate_view
from api.web.views import Account, Site
from experiments.definitions import Holdout, Metric
from experiments.errors import InputError
from experiments.jobs import queue
from experiments.keeping.heads import UnknownKeyError
from experiments.keeping.repository import Repository
from experiments.programme.asking import ProgrammeOptions, check_names, usual_metric
from experiments.programme.jobs import (
    SURROGATE,
    ask_for_surrogate,
    ask_now,
    foretold,
    programme_course,
    usual_options,
)
from experiments.programme.surrogate_asking import SurrogateOptions, check_asked, suited_metrics, unsuited
from experiments.programme.surrogate_document import Surrogate

NAME = "programme_pages"
MOST_SHOWN = 5
"""Experiments whose foretold effects are shown, the newest first."""
MOST_MONEY = 1e12


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in a form: what was sent, or what was asked last, and what is wrong with it."""

    metric: str = ""
    days: str = ""
    fixed_cost: str = ""
    experiment: str = ""
    long: str = ""
    early_days: str = "14"
    long_days: str = "90"
    wrong: str = ""
    of: str = ""
    """Which form: return | surrogate."""


def create_blueprint(services: Services, site: Callable[[], Site], account: Callable[[], Account]) -> Blueprint:
    """Return the pages.

    Args:
        services: the store's side of the node.
        site: the deployment that the pages belong to.
        account: who looks at them.
    """
    blueprint = own_pages(NAME, site, account)

    @blueprint.get("/programme")
    def programme() -> Response:
        return make_response(_page(services, standing(site, account), None))

    @blueprint.post("/programme/compute")
    def compute() -> BaseResponse:
        sent = _sent("return")
        try:
            options = _return_options(sent)
            check_names(services.repository(), options)
        except (InputError, UnknownKeyError) as error:
            return make_response(_page(services, standing(site, account), replace(sent, wrong=str(error))), 422)
        with services.store.begin() as connection:
            ask_now(connection, options, actor())
        return redirect(url_for(f"{NAME}.programme"), code=303)

    @blueprint.post("/programme/surrogate")
    def surrogate() -> BaseResponse:
        sent = _sent("surrogate")
        try:
            repository = services.repository()
            options = _surrogate_options(sent)
            check_asked(options, suited_metrics(repository), repository.experiment(options.experiment))
        except (InputError, UnknownKeyError) as error:
            return make_response(_page(services, standing(site, account), replace(sent, wrong=str(error))), 422)
        with services.store.begin() as connection:
            ask_for_surrogate(connection, options, actor())
        return redirect(url_for(f"{NAME}.programme") + "#sr", code=303)

    return blueprint


def _page(services: Services, here: Standing, sent: Form | None) -> str:
    repository = services.repository()
    words = here.language
    document, course = programme_course(services.store)
    definitions = [head.definition for head in repository.heads().values()]
    profits = {
        m.key: words.text(dict(m.name)) or m.key for m in definitions if isinstance(m, Metric) and m.type == "profit"
    }
    holdouts = [each for each in definitions if isinstance(each, Holdout)]
    launched = any(record.pinned is not None and record.pinned.holdouts for record in repository.experiments())
    numbers = Numbers(words, None if document is None else document.currency, here.page.site.time_zone)
    page = replace(here.page, path="/programme")
    return render(
        "programme.html",
        words.tag,
        page,
        view=None if document is None or not holdouts else build_programme_view(document, words, numbers),
        holdouts=tuple(words.text(dict(each.name or {})) or each.key for each in holdouts),
        launched=launched,
        metrics=tuple(sorted(profits.items())),
        under_way=course.under_way is not None,
        failure=course.failure or "",
        form=sent if sent is not None and sent.of == "return" else _last(services, repository),
        surrogates=_surrogates(services, repository, words, here.page.site.time_zone),
        surrogate_form=sent
        if sent is not None and sent.of == "surrogate"
        else Form(long=usual_metric(repository) or ""),
        experiments=_choices(repository, words),
        outcomes=tuple((key, words.text(dict(m.name)) or key) for key, m in suited_metrics(repository).items()),
        foretelling=_foretelling(services),
        not_foretold=_not_foretold(services),
        may_change=bool(page.account.keys_url),
        section="programme",
        standalone=False,
    )


def _last(services: Services, repository: Repository) -> Form:
    """Return what the return was last counted by, as the form has it."""
    try:
        options = usual_options(services.store, repository)
    except UnknownKeyError:
        options = None
    if options is None:
        return Form(of="return")
    return Form(
        metric=options.metric or "",
        days="" if options.days is None else str(options.days),
        fixed_cost=f"{options.fixed_cost:g}" if options.fixed_cost else "",
        of="return",
    )


def _sent(of: str) -> Form:
    names = ("metric", "days", "fixed_cost", "experiment", "long", "early_days", "long_days")
    return Form(**{name: request.form.get(name, "").replace("\x00", "").strip()[:64] for name in names}, of=of)


def _return_options(sent: Form) -> ProgrammeOptions:
    days = None if not sent.days else _whole(sent.days, 1, 3650, "days")
    try:
        fixed = float(sent.fixed_cost.replace(",", "")) if sent.fixed_cost else 0.0
    except ValueError:
        fixed = float("nan")
    if not -MOST_MONEY <= fixed <= MOST_MONEY:
        raise InputError(f"fixed cost {sent.fixed_cost!r}: write an amount of money")
    return ProgrammeOptions(metric=sent.metric or None, days=days, fixed_cost=fixed)


def _surrogate_options(sent: Form) -> SurrogateOptions:
    return SurrogateOptions(
        sent.experiment,
        sent.long,
        early_days=_whole(sent.early_days, 1, 365, "early days"),
        long_days=_whole(sent.long_days, 2, 3650, "long days"),
    )


def _whole(text: str, low: int, high: int, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise InputError(f"{what} {text!r}: write a whole number from {low} to {high}")
    return int(text)


def _choices(repository: Repository, words: Language) -> tuple[tuple[str, str], ...]:
    """Return the experiments of which an effect can be foretold, the newest first."""
    records = [record for record in repository.experiments() if unsuited(record) is None]
    records.sort(key=lambda record: record.started_at or 0, reverse=True)
    return tuple((record.key, words.text(dict(record.definition.name)) or record.key) for record in records)


def _surrogates(
    services: Services, repository: Repository, words: Language, time_zone: str
) -> tuple[SurrogateView, ...]:
    metrics = suited_metrics(repository)
    return tuple(_view(repository, metrics, one, words, time_zone) for one in foretold(services.store, MOST_SHOWN))


def _view(
    repository: Repository, metrics: dict[str, Metric], one: Surrogate, words: Language, time_zone: str
) -> SurrogateView:
    definition = repository.experiment(one.experiment).definition
    metric = metrics.get(one.long)
    return build_surrogate_view(
        one,
        words,
        Numbers(words, one.currency, time_zone),
        name=words.text(dict(definition.name)) or definition.key,
        long=one.long if metric is None else words.text(dict(metric.name)) or metric.key,
        money=metric is not None and (metric.type == "profit" or (metric.type == "sum" and metric.value == "value")),
        variants={v.key: words.text(dict(v.name or {})) or v.key for v in definition.variants},
    )


def _foretelling(services: Services) -> tuple[str, ...]:
    """Return the experiments whose effects wait or are being foretold."""
    found = [
        *queue.listed(services.store, kind=SURROGATE, state="running", limit=MOST_SHOWN),
        *queue.listed(services.store, kind=SURROGATE, state="queued", limit=MOST_SHOWN),
    ]
    return tuple(job.experiment or "" for job in found)


def _not_foretold(services: Services) -> str:
    """Return why the newest job failed, empty where it did not."""
    newest = queue.listed(services.store, kind=SURROGATE, limit=1)
    return newest[0].error or "" if newest and newest[0].state == "failed" else ""
