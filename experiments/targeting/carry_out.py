"""Making an audience for an experiment: the list out of the store, the model fitted again, the file into the store."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from allocation.compiled import CompiledExperiment, compile_experiment
from experiments.definitions.money import exponent
from experiments.definitions.pricing import PricedOffer
from experiments.errors import InputError
from experiments.jobs import files
from experiments.keeping.repository import Repository
from experiments.list_files import FORMATS
from experiments.measure.days import moment_text
from experiments.measure.parts import PLACED, order_events
from experiments.publishing.plans import plan_of
from experiments.publishing.policy_files import of_store
from experiments.report.build import declared_of
from experiments.report.inputs import Declared
from experiments.sources.log import open_log
from experiments.store import Store
from experiments.store.clock import database_now
from experiments.store.log_tables import members
from experiments.targeting import archive, roster
from experiments.targeting.document import Audience
from experiments.targeting.making import Making, Offered, check_names
from experiments.targeting.request import LIST, RESULT, Limits, TargetRequest
from experiments.targeting.roster import Roster
from experiments.targeting.scoring import Scored, alike, columns_of, needed, score, unseen
from experiments.targeting.standing import Anyway, anyway_of
from experiments.uplift.document import Recommendation, Text
from experiments.uplift.learned import Learned, rows_of_experiment
from experiments.uplift.of_experiment import wanted_of
from experiments.uplift.order_facts import facts_of_units
from experiments.uplift.outcomes import outcome_of

Progress = Callable[[int, int | None], None]


def carry_out(
    store: Store, request: TargetRequest, created_by: str, progress: Progress, *, path: Path | None = None
) -> Audience:
    """Make an audience and keep it with its file; may be begun anew at any time, with the same outcome.

    Args:
        store: definitions, log and files; in a process of its own, see ``Store.close``.
        request: what is asked for.
        created_by: who asks.
        progress: told how many members are done; may raise to stop.
        path: the list on the disk; by default the file that is kept with the job.

    Raises:
        InputError: when the list, the recommendation or a limit cannot be used.
    """
    known = archive.find(store, request.job_id)
    if known is not None and files.find(store, request.job_id, RESULT) is not None:
        return known
    with tempfile.TemporaryDirectory(prefix="equipoise-target-", ignore_cleanup_errors=True) as scratch:
        listed, name = path, None if path is None else str(path)
        if request.sha256 is not None and path is None:
            uploaded = files.find(store, request.job_id, LIST)
            if uploaded is None:
                raise InputError("the list is no longer kept; send it again")
            listed, name = Path(scratch) / "list", uploaded.name
            files.fetch(store, uploaded, listed)
        target = Path(scratch) / "result"
        audience = _Targeting(store, request, listed, name).make(target, progress)
        media_type = FORMATS[request.format]
        kept = files.save_path(store, request.job_id, RESULT, target, name=request.file_name, media_type=media_type)
    if kept.sha256 != audience.sha256:
        raise OSError("the audience file was not kept as it was written")
    archive.keep(store, audience, created_by)
    return archive.one(store, request.job_id)


@dataclass(frozen=True)
class _Targeting:
    """One request on its way to an audience."""

    store: Store
    request: TargetRequest
    path: Path | None
    """The list; ``None``: the stored members in the experiment's audience."""
    name: str | None

    def make(self, target: Path, progress: Progress) -> Audience:
        """Write the file and return the document."""
        found = self.recommended
        if not found.causal:
            raise InputError(
                f"the data of {self.request.experiment} bear no recommendation; its checks say what would be needed"
            )
        # Read before the log is opened: meanwhile the store is closed.
        declared, compiled, at_us = self.declared, self.compiled, self.at_us
        offered = self._offered()
        bounds = Limits(
            self.request.budget, self.request.basis, self.request.stock, self.request.floors, self.request.explore
        )
        check_names(bounds, offered)
        personalised = bool(found.evidence)
        learned: Learned | None = None
        asked = tuple(dict.fromkeys(floor.attribute for floor in self.request.floors))
        if personalised:
            learned = self._learned()
            asked = tuple(dict.fromkeys((*needed(learned), *asked)))
        if declared.standing is not None:
            asked = tuple(dict.fromkeys((*asked, declared.standing.attribute)))
        people = self._roster(asked)
        progress(0, len(people.units))
        barred = np.array(
            [_barred(compiled, unit, out) for unit, out in zip(people.units, people.opted_out, strict=True)]
        )
        if learned is None:
            scored = alike(found, len(people.units))
        else:
            scored = self._scored(learned, people)
        progress(len(people.units), len(people.units))
        anyway = self._anyway(people, offered, learned)
        making = Making(
            found=found,
            roster=people,
            scored=scored,
            offered=offered,
            limits=bounds,
            barred=barred,
            about={
                "id": self.request.job_id,
                "experiment": self.request.experiment,
                "recommendation": self.request.recommendation,
                "list_name": None if self.name is None else Path(self.name).name,
                "at": moment_text(at_us),
            },
            currency=declared.currency,
            personalised=personalised,
            notes=[
                *self._changed(learned),
                *(() if learned is None else unseen(learned, people)),
                *(() if anyway is None else anyway.notes),
            ],
            anyway=anyway,
        )
        return making.make(target, self.request.format, self.request.file_name)

    # what is known ------------------------------------------------------------------------------------------------

    @cached_property
    def recommended(self) -> Recommendation:
        """The recommendation whose model chooses."""
        return archive.recommendation(self.store, self.request.experiment, self.request.recommendation)[1]

    @cached_property
    def declared(self) -> Declared:
        """The experiment that was learned from."""
        return declared_of(Repository(self.store), self.request.experiment)

    @cached_property
    def at_us(self) -> int:
        """As of when members are described."""
        if self.request.at is not None:
            return self.request.at
        with self.store.read() as connection:
            return database_now(connection)

    @cached_property
    def compiled(self) -> CompiledExperiment:
        """The experiment as deciding knows it: its audience, exclusions and holdouts."""
        repository = Repository(self.store)
        plan = plan_of(repository, self.declared.record)
        excluded = self.declared.project.exclude.get(plan.unit_type, ())
        return compile_experiment(plan, excluded=excluded, policies=of_store(self.store))

    def _offered(self) -> list[Offered]:
        return [_offered(self.declared, arm.key, arm.redemption_cost, arm.name) for arm in self.recommended.arms[1:]]

    def _anyway(self, people: Roster, offered: list[Offered], learned: Learned | None) -> Anyway | None:
        """Return what discounts that members have anyway mean for the offers; ``None`` where they have none."""
        declared, standing = self.declared, self.declared.standing
        if standing is None:
            return None
        offers = [declared.offers.get(one.offer or "") for one in offered]
        return anyway_of(
            standing,
            people.attributes[standing.attribute],
            offers,
            [one.each for one in offered],
            [one.contact for one in offered],
            declared.currency,
            declared.names,
            None if learned is None else learned.redemption_by_level,
        )

    def _learned(self) -> Learned:
        """Read again what the recommendation was learned from."""
        wanted, until = wanted_of(self.recommended.settings)
        declared = self.declared
        self.store.close()
        with open_log(self.store.url) as log:
            return rows_of_experiment(log, declared, until, wanted)

    def _changed(self, learned: Learned | None) -> list[Text]:
        """Return a warning where the log no longer says what it said then."""
        if learned is None or learned.trial.rows == self.recommended.rows:
            return []
        now, then = learned.trial.rows, self.recommended.rows
        return [
            {
                "en": f"The log has changed since the recommendation: {now:,} rows instead of {then:,} were learned "
                "from. Make a new recommendation.",
                "zh-CN": f"推荐之后日志有变化：本次学习用 {now:,} 行，当时为 {then:,} 行。请重新生成推荐。",
            }
        ]

    # members ------------------------------------------------------------------------------------------------------

    def _roster(self, wanted: tuple[str, ...]) -> Roster:
        unit_type = self.declared.record.definition.unit_type
        if self.path is None:
            found = roster.of_stored(self._stored_audience(), wanted)
            if not found.units:
                raise InputError(
                    f"no stored member is in the audience of {self.request.experiment}; send a list of members"
                )
            return roster.each_once(self.store, found, unit_type)
        found = roster.of_file(
            self.path,
            self.name or "the list",
            wanted,
            unit_type=unit_type,
            unit_column=self.request.unit_column,
            encoding=self.request.encoding,
            allow_personal=self.declared.project.allow_personal_ids,
        )
        return roster.each_once(self.store, roster.with_stored(self.store, found, unit_type), unit_type)

    def _stored_audience(self) -> Iterator[tuple[str, dict[str, Any], bool]]:
        """Yield the stored members for whom the experiment's audience rule holds."""
        audience, unit_type = self.compiled.audience, self.compiled.unit_type
        c = members.c
        query = sa.select(c.unit, c.attributes, c.opted_out).where(c.unit_type == unit_type).order_by(c.unit)
        with self.store.read() as connection:
            for unit, attributes, out in connection.execution_options(stream_results=True).execute(query):
                held = json.loads(attributes)
                if audience is None or audience(held, self.at_us):
                    yield unit, held, bool(out)

    def _scored(self, learned: Learned, people: Roster) -> Scored:
        declared = self.declared
        facts: dict[str, NDArray[np.float64]] = {}
        if learned.facts:
            stated = order_events(outcome_of(declared, self.recommended.outcome).parts)
            event = next((name for name in stated if name not in PLACED), PLACED[0])
            unit = 10 ** exponent(declared.currency)
            self.store.close()
            with open_log(self.store.url) as log:
                unit_type = declared.record.definition.unit_type
                facts = facts_of_units(log, people.units, unit_type, self.at_us, unit=unit, event=event)
        columns = columns_of(
            learned,
            people,
            facts,
            types=declared.project.attribute_types(),
            at_us=self.at_us,
            time_zone=declared.time_zone,
        )
        standing = declared.standing
        if standing is None or not learned.redemption_by_level:
            return score(learned, self.recommended, columns)
        known, usual = learned.redemption_by_level, learned.prices.redemption
        levels = [level if level in standing.discounts else "" for level in people.attributes[standing.attribute]]
        return score(learned, self.recommended, columns, np.array([known.get(level, usual) for level in levels]))


def _barred(compiled: CompiledExperiment, unit: str, opted_out: bool) -> str | None:
    """Return why a member is given no personal offer; ``None`` for who may be."""
    if opted_out:
        return "opted_out"
    if unit in compiled.excluded:
        return "excluded"
    for holdout in compiled.holdouts:
        hashing = holdout.hashing()
        hashing.update(unit.encode())
        if hashing.hexdigest() < holdout.below:
            return "holdout"
    return None


def _offered(declared: Declared, key: str, redeemed_cost: float, name: Text) -> Offered:
    """Return an arm with what one issued offer of it costs at most."""
    variant = declared.record.definition.variant(key)
    if variant.offer_by is not None:
        raise InputError(
            f"variant {key} of {declared.record.key} gives each member its own offer already; make audiences from an "
            "experiment whose variants give one offer each"
        )
    offer = declared.offers.get(variant.offer or "")
    if offer is None:
        return Offered(key, name, None, 0.0)
    unit = 10 ** exponent(declared.currency)
    priced = PricedOffer(offer, declared.currency)
    most = priced.liability_minor()
    if most is None and redeemed_cost <= 0:
        raise InputError(
            f"offer {offer.key}: what one costs depends on the order; declare maximum_discount for a bound"
        )
    each = redeemed_cost if most is None else most / unit
    contact = float(priced.contact_cost_minor(variant.channel)) / unit
    return Offered(key, name, offer.key, each + contact, contact)
