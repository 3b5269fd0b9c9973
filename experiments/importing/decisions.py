"""Assignments that another tool made, as decisions of an experiment defined here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from allocation.decision import OccasionError, check_occasion, decision_id
from experiments.errors import InputError, unknown_name
from experiments.importing.mapping import DECISION_FIELDS, DecisionMapping, require_at, resolve
from experiments.importing.reading import Cells, query
from experiments.importing.run import BadRowError, ImportResult, Job, Progress, run, source_name
from experiments.importing.units import unit_reader
from experiments.importing.values import CellError, attribute, number, time_reader, time_zone
from experiments.keeping.records import ExperimentRecord
from experiments.keeping.repository import Repository
from experiments.log.absorb import absorb
from experiments.log.rows import DecisionRow
from experiments.sources.file import FileTable
from experiments.store import Store

_frozen = msgspec.json.Encoder(order="sorted")


def import_decisions(
    store: Store,
    path: Path,
    mapping: DecisionMapping,
    *,
    encoding: str | None = None,
    progress: Progress | None = None,
    now: int | None = None,
) -> ImportResult:
    """Import a file with one row for each assignment: unit, variant, time.

    A unit that stands there twice with one variant counts once; with two variants it is a conflict and counts as
    contaminated. Rows without a usable unit, time or variant become dead letters. The propensity is the variant's
    share of the phase's split unless a column says otherwise.

    Args:
        store: where to.
        path: CSV (plain or gzip; UTF-8, GB18030) or Parquet.
        mapping: which column means what.
        encoding: of a CSV; found out when None.
        progress: told how far it is.
        now: our clock in microseconds, the system's by default.

    Raises:
        InputError: when the file cannot be used at all, or holds a variant that the experiment does not have.
    """

    def prepare(file: FileTable, began: int) -> Job:
        return _prepare(store, file, mapping, path, began)

    return run(store, path, prepare, kind="decisions", options=mapping, encoding=encoding, progress=progress, now=now)


def _prepare(store: Store, file: FileTable, mapping: DecisionMapping, path: Path, began: int) -> Job:
    if not mapping.experiment:
        raise InputError("which experiment do these decisions belong to? Add --experiment KEY")
    repository = Repository(store)
    record = repository.experiment(mapping.experiment)
    project = repository.project()
    found = resolve(mapping, DECISION_FIELDS, file)
    require_at(found, mapping, file)
    if "variant" not in found:
        raise InputError(
            f"{file.path}: which column is the variant? Add --map variant=COLUMN. There are: {', '.join(file.header)}"
        )
    phase, weights = _phase(record, mapping.phase)
    _check_variants(file, found["variant"], mapping, record)
    types = project.attribute_types()
    attributes = _attributes(file, mapping, record, types)
    zone = time_zone(mapping.time_zone or project.time_zone)
    read = _row_reader(
        record, phase, weights, mapping, found, attributes, types, time_reader(zone), unit_reader(project), began
    )
    source = source_name(path, mapping)
    columns = tuple(dict.fromkeys([*found.values(), *attributes.values()]))

    def read_row(row: int, cells: Cells) -> DecisionRow:
        return read(row, dict(zip(columns, cells, strict=True)), source)

    return Job("decisions", source, columns, read_row, absorb)


def _phase(record: ExperimentRecord, wanted: int | None) -> tuple[int, Mapping[str, int]]:
    """Return the phase's number and split; before its launch an experiment has phase 1 as it is defined."""
    phases = {phase.number: phase.weights for phase in record.phases} or {1: record.definition.split()}
    number = max(phases) if wanted is None else wanted
    if number not in phases:
        raise InputError(
            f"--phase {number}: experiment {record.key} has no such phase; it has {', '.join(map(str, phases))}"
        )
    return number, phases[number]


def _check_variants(file: FileTable, column: str, mapping: DecisionMapping, record: ExperimentRecord) -> None:
    """Refuse a file of which a whole group would be lost, before anything is stored."""
    known = [variant.key for variant in record.definition.variants]
    for value, variant in mapping.variants.items():
        if variant not in known:
            raise unknown_name("variant", variant, known, f"in experiment {record.key} (--variant {value}={variant})")
    quoted = '"' + column.replace('"', '""') + '"'
    groups = query(
        file,
        f"SELECT {quoted}::VARCHAR, count(*) FROM equipoise_file GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1000",  # noqa: S608
    )
    missing = [
        f"{value!r} ({rows:,} rows)"
        for value, rows in groups
        if value and mapping.variants.get(value, value) not in known
    ]
    if missing:
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        raise InputError(
            f"{file.path}, column {column!r}: {shown} not among the variants of experiment {record.key} "
            f"({', '.join(known)}): add them to its definition, or say which is which with --variant 'VALUE=VARIANT'"
        )


def _attributes(
    file: FileTable, mapping: DecisionMapping, record: ExperimentRecord, types: Mapping[str, str]
) -> dict[str, str]:
    for name in mapping.attributes:
        if name not in types:
            raise unknown_name("attribute", name, sorted(types), "in the project (--attribute)")
    automatic = {name: name for name in record.definition.frozen if name in file.header}
    return {name: file.require(column) for name, column in {**automatic, **mapping.attributes}.items()}


def _row_reader(
    record: ExperimentRecord,
    phase: int,
    weights: Mapping[str, int],
    mapping: DecisionMapping,
    found: Mapping[str, str],
    attributes: Mapping[str, str],
    types: Mapping[str, str],
    read_time: Callable[[str], int],
    read_unit: Callable[[str], str],
    began: int,
) -> Callable[[int, Mapping[str, str | None], str], DecisionRow]:
    parts = sum(weights.values())
    unit_type = mapping.unit_type or record.definition.unit_type
    if unit_type != record.definition.unit_type:
        raise InputError(
            f"--unit-type {unit_type}: experiment {record.key} is about units of type {record.definition.unit_type}"
        )

    def read(row: int, cells: Mapping[str, str | None], source: str) -> DecisionRow:
        def cell(field: str) -> str:
            return (cells[found[field]] or "") if field in found else ""

        unit = read_unit(str(row) if mapping.unit_row_number else cell("unit"))
        try:
            occasion = check_occasion(cell("occasion"))
        except OccasionError as error:
            raise CellError(str(error)) from None
        value = cell("variant")
        if not value:
            raise BadRowError("the variant is empty", "unknown_variant")
        variant = mapping.variants.get(value, value)
        at = read_time(cell("at") if mapping.at_constant is None else mapping.at_constant)
        if at > began:
            raise CellError("the time of the assignment lies in the future; check its time zone")
        propensity = weights[variant] / parts if variant in weights else None
        given = cell("propensity")
        if given:
            propensity = float(number(given))
            if not 0 < propensity <= 1:
                raise CellError("the propensity is outside 0 to 1")
        known = {name: attribute(cells[column] or "", types.get(name, "string")) for name, column in attributes.items()}
        return DecisionRow(
            decision_id=decision_id(record.key, phase, unit_type, unit, occasion),
            experiment=record.key,
            revision=record.revision,
            phase=phase,
            unit_type=unit_type,
            unit=unit,
            occasion=occasion,
            kind="enrolled",
            variant=variant,
            reason="assigned",
            propensity=propensity,
            at=at,
            frozen=_frozen.encode({name: value for name, value in known.items() if value is not None}).decode(),
            snapshot="",
            source=source,
        )

    return read
