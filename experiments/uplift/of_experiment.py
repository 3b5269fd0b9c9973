"""The recommendation from an experiment that is over, out of the service's own log."""

from __future__ import annotations

from dataclasses import asdict, replace

from experiments.errors import InputError
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.measure.days import moment_text
from experiments.report.build import declared_of
from experiments.report.inputs import Declared, phase_of
from experiments.sources.log import LogTables, open_log
from experiments.store import Store
from experiments.uplift.document import Recommendation
from experiments.uplift.learned import Learned, rows_of_experiment
from experiments.uplift.options import Wanted
from experiments.uplift.recommendation import About, recommendation_of

OVER = frozenset({"ended", "decided"})
"""States in which nobody enters any more: what is read while units enter is looked at too early."""


def not_over(record: ExperimentRecord) -> str | None:
    """Return why nothing is recommended from an experiment yet, ``None`` when it can be."""
    if record.state in OVER:
        return None
    return f"{record.key} is {record.state}: who should get which offer is recommended when it has ended"


def recommend_experiment(store: Store, key: str, now: int, wanted: Wanted | None = None) -> Recommendation:
    """Compute the recommendation from an experiment.

    Args:
        store: definitions and log; closed meanwhile, so in a process of its own (see ``Store.close``).
        key: the experiment.
        now: microseconds since 1970 UTC; nothing later is read.
        wanted: phase, outcome and value, where not the usual ones.

    Raises:
        UnknownKeyError: when there is no such experiment.
        InputError: when it is not over, or nothing can be learned from it.
    """
    asked = wanted or Wanted()
    declared = declared_of(Repository(store), key)
    if why := not_over(declared.record):
        raise InputError(why)
    store.close()
    with open_log(store.url) as log:
        return recommendation_from(log, declared, now, asked)[1]


def recommendation_from(log: LogTables, declared: Declared, now: int, wanted: Wanted) -> tuple[Learned, Recommendation]:
    """Return what is learned from, and what is recommended, out of a log in any Ibis connection."""
    learned = rows_of_experiment(log, declared, now, wanted)
    # Everything that was chosen is written down, so that the same rows and the same model are found again.
    settled = replace(wanted, phase=phase_of(declared.record, wanted.phase)[0], outcome=learned.outcome)
    about = about_of(declared, learned, settled)
    alpha = declared.record.definition.alpha
    return learned, recommendation_of(learned, about, alpha=alpha, seed=wanted.seed, folds=wanted.folds)


def about_of(declared: Declared, learned: Learned, wanted: Wanted) -> About:
    """Return what a recommendation is of."""
    definition = declared.record.definition
    variants = {variant.key: variant for variant in definition.variants}
    names = {key: dict(name) for key in learned.arms if (name := variants[key].name) is not None}
    types = declared.project.attribute_types()
    return About(
        title=dict(definition.name),
        experiment=definition.key,
        phase=wanted.phase,
        unit_type=definition.unit_type,
        arm_names=names,
        offers={key: offer for key in learned.arms if (offer := variants[key].offer) is not None},
        names=declared.names,
        kinds={name: kind for name, kind in types.items() if name in learned.columns},
        data_until=None if learned.data_until is None else moment_text(learned.data_until),
        settings=settings_of(wanted, learned),
    )


def settings_of(wanted: Wanted, learned: Learned) -> dict[str, object]:
    """Return what finds the same rows again."""
    return {**asdict(wanted), "now_us": learned.data_until}


def wanted_of(settings: dict[str, object]) -> tuple[Wanted, int]:
    """Return what was asked for, and until when the log was read, from a document's ``settings``.

    >>> wanted_of({"phase": 1, "outcome": "visit", "value": None, "seed": 0, "folds": 5, "now_us": 7})
    (Wanted(phase=1, outcome='visit', value=None, seed=0, folds=5), 7)
    """
    fields = {name: settings[name] for name in ("phase", "outcome", "value", "seed", "folds")}
    return Wanted(**fields), int(str(settings["now_us"]))  # type: ignore[arg-type]
