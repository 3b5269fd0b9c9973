"""An audience from files alone: learned from the rows of one, chosen among the members of another; nothing is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from experiments.errors import InputError
from experiments.list_files import Format
from experiments.measure.days import moment_text
from experiments.sources.columns import MISSING_WORDS
from experiments.sources.file import printable
from experiments.targeting import roster
from experiments.targeting.document import Audience
from experiments.targeting.making import Making, Offered
from experiments.targeting.request import Limits
from experiments.targeting.roster import Roster
from experiments.targeting.scoring import alike, columns_of, needed, score, unseen
from experiments.uplift.of_file import recommend_file
from experiments.uplift.options import FileOptions


def target_from_file(
    source: Path,
    options: FileOptions,
    listed: Path,
    asked: Limits,
    output: Path,
    file_format: Format,
    *,
    at_us: int,
    unit_column: str | None = None,
    encoding: str | None = None,
    name: str | None = None,
) -> Audience:
    """Learn from a randomised file, choose among the members of a list, write the audience.

    Args:
        source: the file that is learned from.
        options: which of its columns hold what, and prices.
        listed: the members, with the same columns for what was known before.
        asked: what bounds the choice.
        output: the file to be.
        file_format: ``csv`` or ``parquet``.
        at_us: when this is, microseconds since 1970 UTC.
        unit_column: column of the members' ids.
        encoding: of the list, where it is a CSV; found out when ``None``.
        name: what the file will be called; by default ``output``'s.

    Raises:
        InputError: a file or an option cannot be used, or the data bear no recommendation.
    """
    written = recommend_file(source, options)
    found, learned = written.document, written.learned
    if not found.causal:
        raise InputError(f"{found.sentence.get('en', '')} So there is no audience to make of them.".strip())
    wanted = dict.fromkeys((*needed(learned), *(floor.attribute for floor in asked.floors)))
    people = roster.of_file(
        listed, printable(listed), tuple(wanted), unit_column=unit_column, encoding=encoding, allow_personal=True
    )
    people = Roster(people.units, _cleaned(people.attributes), people.opted_out, people.left_out)
    personalised = bool(found.evidence)
    if personalised:
        columns = columns_of(learned, people, {}, types={}, at_us=at_us, time_zone="UTC")
        scored = score(learned, found, columns)
    else:
        scored = alike(found, len(people.units))
    arms = found.arms[1:]
    with listed.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    identity = msgspec.json.encode([found.content_hash, digest, msgspec.to_builtins(asked)], order="sorted")
    making = Making(
        found=found,
        roster=people,
        scored=scored,
        offered=[Offered(arm.key, arm.name, arm.key, arm.redemption_cost + arm.contact_cost) for arm in arms],
        limits=asked,
        barred=np.array(["opted_out" if out else None for out in people.opted_out], dtype=object),
        about={
            "id": hashlib.sha256(b"equipoise-target:" + identity).hexdigest()[:32],
            "list_name": Path(printable(listed)).name,
            "at": moment_text(at_us),
        },
        currency=found.currency or None,
        personalised=personalised,
        notes=unseen(learned, people) if personalised else (),
    )
    return making.make(output, file_format, name or output.name)


def _cleaned(attributes: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return columns of text with the usual words for "missing" as missing, as where the model was learned."""
    return {
        name: np.array(
            [None if value is None or value.strip().lower() in MISSING_WORDS else value for value in values],
            dtype=object,
        )
        for name, values in attributes.items()
    }
