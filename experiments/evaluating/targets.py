"""The policy to value, from what an operator writes: its probabilities for every logged decision.

``uniform``; ``variant:KEY``; a policy's file, drawn from as the service would; ``greedy:FILE``, its best variant alone;
``log:FILE``, what another log drew, as shares; ``beta:FILE``, Thompson sampling from a table of Beta distributions;
``version:N``, a version of the policy of the experiment whose decisions are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from allocation.bandits.policy import Policy, from_bytes
from allocation.bandits.probabilities import TIE
from experiments.errors import InputError, unknown_name
from experiments.evaluating.decision_log import DecisionLog
from experiments.evaluating.reading import LogColumns, read_log
from experiments.learning.as_drawn import Floors, drawn_by
from experiments.sources.columns import read_columns
from experiments.sources.file import ROW, open_file

Floats = npt.NDArray[np.float64]
EXPLORE = 0.02
"""What the service mixes into a policy where its definition says nothing else."""
SIMULATIONS = 100_000
SEED = 12345


@dataclass(frozen=True, eq=False)
class Target:
    """A policy's probabilities.

    Attributes:
        name: what was asked for.
        probabilities: shape (n, K); each row sums to 1.
        notes: what a reader should know.
    """

    name: str
    probabilities: Floats
    notes: tuple[str, ...] = ()


def make_target(
    log: DecisionLog,
    asked: str,
    *,
    explore: float | None = None,
    columns: LogColumns | None = None,
    versions: Mapping[int, Policy] | None = None,
) -> Target:
    """Return the probabilities of a policy for a log's decisions.

    Args:
        log: the decisions.
        asked: one of the forms above.
        explore: mass that is spread over those eligible. Default: the experiment's, or .02, for a policy's file or
            version; 0 otherwise.
        columns: which columns hold what in another log.
        versions: number → policy, of the experiment's versions.

    Raises:
        InputError: for a policy that cannot be used on this log.
    """
    kinds: dict[str, Callable[[str], Target]] = {
        "variant": lambda key: _single(log, key),
        "greedy": lambda path: _greedy(log, path),
        "log": lambda path: _other_log(log, path, columns),
        "beta": lambda path: _beta(log, path),
    }
    kind, colon, rest = asked.partition(":")
    if explore is not None and not 0 <= explore <= 1:
        raise InputError(f"--explore {explore:g} is no share: write 0.02 or 2%")
    if asked == "uniform":
        found = Target(asked, _even(log))
    elif colon and kind in kinds and rest:
        found = kinds[kind](rest)
    elif kind == "version" and rest:
        if not rest.isdecimal() or int(rest) not in (versions or {}):
            raise InputError(f"--policy {asked!r}: versions are those of an experiment, LOG being experiment:KEY")
        return _as_drawn(log, asked, (versions or {})[int(rest)], explore)
    elif Path(asked).is_file():
        return _as_drawn(log, asked, _load(asked), explore)
    else:
        raise InputError(
            f"--policy {asked!r} is neither a policy's file nor one of uniform, variant:KEY, greedy:FILE, log:FILE, "
            "beta:FILE, version:N"
        )
    if not explore:
        return found
    return Target(found.name, (1 - explore) * found.probabilities + explore * _even(log), found.notes)


def _even(log: DecisionLog) -> Floats:
    allowed = log.allowed
    return np.asarray(allowed / allowed.sum(axis=1, keepdims=True))


def _single(log: DecisionLog, key: str) -> Target:
    if key not in log.variants:
        raise unknown_name("variant", key, log.variants, f"in {log.path}")
    chosen = np.zeros((log.n, len(log.variants)))
    chosen[:, log.variants.index(key)] = 1.0
    return _among_eligible(log, f"variant:{key}", chosen)


def _among_eligible(log: DecisionLog, name: str, wanted: Floats, notes: tuple[str, ...] = ()) -> Target:
    """Leave out variants that a member was not eligible for; where nothing remains, draw evenly."""
    kept = np.where(log.allowed, wanted, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    none = total[:, 0] <= 0
    out = np.where(total > 0, kept / np.where(total > 0, total, 1.0), _even(log))
    if none.any():
        notes = (*notes, f"nothing it would draw was eligible in decisions it draws evenly in: {int(none.sum()):,}")
    return Target(name, out, notes)


def _load(path: str) -> Policy:
    try:
        return from_bytes(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _fitting(log: DecisionLog, name: str, policy: Policy) -> list[int]:
    """Return the index in the log of each of a policy's variants.

    Raises:
        InputError: when it draws or reads what the log does not have.
    """
    unseen = [key for key in policy.variants if key not in log.variants]
    if unseen:
        raise InputError(
            f"{name}: draws variant {unseen[0]!r}, which {log.path} never did: this log cannot tell what it earns"
        )
    absent = [code.attribute for code in policy.encoder.features if code.attribute not in log.features]
    if absent:
        raise InputError(
            f"{name}: reads attribute {absent[0]!r}, which {log.path} does not have as a column or in 'frozen'"
        )
    return [log.variants.index(key) for key in policy.variants]


def _as_drawn(log: DecisionLog, name: str, policy: Policy, explore: float | None) -> Target:
    """Return what the service would draw from, floors and all."""
    _fitting(log, name, policy)
    k = len(log.variants)
    floors = log.floors or Floors(EXPLORE, (0.0,) * k, (1.0,) * k)
    if explore is not None:
        floors = replace(floors, explore=explore)
    return Target(name, drawn_by(policy, log.variants, log.features, log.allowed, floors))


def _greedy(log: DecisionLog, path: str) -> Target:
    policy = _load(path)
    places = _fitting(log, path, policy)
    encoded = policy.encoder.encode_columns(log.features, log.n)
    scores = np.where(log.allowed[:, places], policy.scores_batch(encoded), -np.inf)
    best = scores >= scores.max(axis=1, keepdims=True) - TIE
    out = np.zeros((log.n, len(log.variants)))
    out[:, places] = best & log.allowed[:, places]
    return _among_eligible(log, f"greedy:{path}", out)


def _other_log(log: DecisionLog, path: str, columns: LogColumns | None) -> Target:
    """Take the shares with which another log drew each variant, in each position, as probabilities."""
    other = read_log(path, columns)
    unseen = [key for key in other.variants if key not in log.variants]
    if unseen:
        raise InputError(f"{path}: drew variant {unseen[0]!r}, which {log.path} never did")
    places = np.array([log.variants.index(key) for key in other.variants], dtype=np.intp)
    by_place = log.position is not None and other.position is not None
    here = log.position if log.position is not None and by_place else np.zeros(log.n, np.intp)
    there = other.position if other.position is not None and by_place else np.zeros(other.n, np.intp)
    size = int(max(here.max(), there.max())) + 1
    counts = np.zeros((size, len(log.variants)))
    np.add.at(counts, (there, places[other.variant]), 1.0)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    note = f"probabilities are the shares in which {other.path} drew, {other.n:,} decisions; they are not exact"
    return _among_eligible(log, f"log:{path}", shares[here], (note,))


def _beta(log: DecisionLog, path: str) -> Target:
    """Simulate Thompson sampling from Beta distributions: the best of each draw, in each position, the next best.

    Source: Saito et al. (2021), as obp's ``BernoulliTS.compute_batch_action_dist``, 100,000 draws.
    """
    with open_file(path) as file:
        names = [file.require(name) for name in ("variant", "alpha", "beta")]
        table = read_columns(file, {"variant": names[0]}, names[1:], materialise=False)
        connection = table.get_backend()
        rows = connection.raw_sql(connection.compile(table.order_by(ROW))).fetchall()
    table_of: dict[str, tuple[float, float]] = {}
    for row, (_, key, *numbers) in enumerate(rows):
        alpha, beta = (np.nan if number is None else float(number) for number in numbers)
        if key is None or not (0 < alpha < np.inf and 0 < beta < np.inf):
            raise InputError(f"{path}: row {row + 1}: a variant with alpha and beta above 0 is needed")
        table_of[key] = (alpha, beta)
    missing = [key for key in log.variants if key not in table_of]
    if missing or len(table_of) > len(log.variants):
        odd = missing[0] if missing else next(key for key in table_of if key not in log.variants)
        where = f"{path} has no row for" if missing else f"{log.path} never drew"
        raise InputError(f"{where} variant {odd!r}: both need the same variants")
    pairs = np.array([table_of[key] for key in log.variants])
    places = np.zeros(log.n, np.intp) if log.position is None else log.position
    size = int(places.max()) + 1
    if size > len(log.variants):
        raise InputError(f"{log.path}: has {size} positions and only {len(log.variants)} variants")
    counts = np.zeros((size, len(log.variants)))
    rng = np.random.default_rng(SEED)
    at_once = 10_000
    for _ in range(SIMULATIONS // at_once):
        order = np.argsort(-rng.beta(pairs[:, 0], pairs[:, 1], size=(at_once, len(pairs))), axis=1)
        for place in range(size):
            counts[place] += np.bincount(order[:, place], minlength=len(pairs))
    note = f"probabilities from {SIMULATIONS:,} simulated draws"
    return _among_eligible(log, f"beta:{path}", (counts / SIMULATIONS)[places], (note,))
