"""From the rows of a file to its report: the same estimators, families and document as the log's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.analyze.columns import Columns, find_columns
from experiments.analyze.looking import file_curves, file_inference, file_looks
from experiments.analyze.measured import FileDesign
from experiments.analyze.metrics import file_metrics
from experiments.analyze.money import file_money
from experiments.analyze.options import AnalyzeOptions, check_options, prior_sd_of
from experiments.analyze.units import (
    KeptRows,
    keep_units,
    made_variants,
    variants_of,
    with_days,
    with_factors,
    with_strata,
)
from experiments.analyze.values import check_levels, check_values, with_missing_indicators
from experiments.analyze.words import file_specific_warnings, guardrail_sentences, methods_of
from experiments.errors import InputError
from experiments.intended import split_weights
from experiments.measure.cells import Cells, ColumnGroup, compute_cells
from experiments.measure.clusters import clusters_by_variant
from experiments.measure.economics import ECONOMICS
from experiments.measure.experiment import MAX_STRATA
from experiments.measure.scan import scan_columns
from experiments.measure.unit_rows import UnitRows
from experiments.report.breakdowns import adjust_interactions, breakdown_of
from experiments.report.content import sealed
from experiments.report.document import (
    Breakdown,
    Check,
    MetricResult,
    Plan,
    Population,
    Report,
    SequentialPlan,
    Srm,
    Text,
    VariantInfo,
)
from experiments.report.estimates import scorecard
from experiments.report.inference import Inference
from experiments.report.inputs import Prior
from experiments.report.looks import Looks
from experiments.report.measured import Measured, MetricSpec
from experiments.report.method_words import MONEY
from experiments.report.plan import prior_text
from experiments.report.sequential import sequential_tests, with_stopped
from experiments.report.words import file_summary, file_warnings, unreadable_reason
from experiments.sources.columns import read_columns
from experiments.sources.duck import fetch_one
from experiments.sources.file import ROW, FileTable, first_line, open_file


def analyze_file(path: str | Path, options: AnalyzeOptions) -> Report:
    """Analyse one file.

    Args:
        path: CSV (plain or gzip; UTF-8 or GB18030) or Parquet.
        options: what to analyse.

    Raises:
        InputError: when the file or an option cannot be used, in one line.
    """
    check_options(options)
    import duckdb

    with open_file(path, encoding=options.encoding) as file:
        try:
            return _analyze(file, options)
        except duckdb.Error as error:
            raise InputError(f"{path}: cannot be read: {first_line(error)}") from error


def _analyze(file: FileTable, options: AnalyzeOptions) -> Report:
    columns = find_columns(file, options)
    table = read_columns(file, columns.texts, columns.numbers, materialise=options.unit is not None)
    made = None
    variant = columns.variant or ""
    if columns.factors:
        table, variant, made = with_factors(file, table, columns)
    units = keep_units(file, table, variant, columns.unit)
    if made is not None:
        variants, made = made_variants(file, made, units.counts)
        options = replace(options, control=variants[0])
    else:
        if file.table[variant].type().is_boolean():
            # True and true are the same where the file says so by its type.
            options = replace(
                options, control=(options.control or "").lower(), split=options.split and options.split.lower()
            )
        variants = variants_of(file, options, units.counts)
    weights = split_weights(options.split, variants)
    scans = scan_columns(units.table, columns.numbers)
    check_values(file, scans, columns.covariates)
    rows, scans, covariates = with_missing_indicators(units.table, scans, columns.covariates)
    metrics = file_metrics(file, rows, scans, columns, options, covariates, variant)
    rows, scans, simple = metrics.table, metrics.scans, metrics.simple
    money = None
    if options.tells_money:
        money = file_money(file, rows, scans, columns, options, covariates, variant, variants)
        rows, scans, simple = money.table, money.scans, [*simple, money.spec]
    day = stratum = None
    if "entered" in columns.levels:
        rows, day = with_days(file, rows, options.entered or "", columns.levels["entered"])
    if columns.strata:
        rows, stratum = with_strata(rows, columns.strata)
        strata = int(fetch_one(rows[stratum].nunique()))
        if strata > MAX_STRATA:
            raise InputError(f"{file.path}: --strata has {strata:,} combinations of levels (at most {MAX_STRATA})")
    unit_rows = UnitRows(rows, scans, tuple(variants), variant, ROW)
    design = FileDesign(
        file.path,
        options,
        unit_rows,
        columns.levels,
        simple,
        metrics.from_rows,
        metrics.times,
        made,
        columns.reached,
        money,
    )
    design.check()
    groups = [ColumnGroup(s.name, s.columns) for s in simple] + ([] if money is None else [money.group])
    cells, segments = _cells(file, unit_rows, columns, groups, stratum, day, sequential=options.looks is None)
    return _Building(file.path, options, design, weights, units, cells, tuple(segments), stratum is not None).report()


def _cells(
    file: FileTable,
    rows: UnitRows,
    columns: Columns,
    groups: Sequence[ColumnGroup],
    stratum: str | None,
    day: str | None,
    *,
    sequential: bool,
) -> tuple[Cells, list[tuple[str, Cells]]]:
    """Return the moments of all units, and by the levels of each breakdown."""

    def cells_of(level: str | None, by: str | None) -> Cells:
        return compute_cells(
            rows.table, groups, rows.scans, variant=rows.variant, variants=rows.variants, stratum=level, day=by
        )

    segments: list[tuple[str, Cells]] = []
    for label, column in columns.breakdowns.items():
        check_levels(file, rows.table, label, column)
        segments.append((label, cells_of(column, day if sequential else None)))
    if segments and stratum is None and day is None:
        return segments[-1][1], segments  # its totals are those of all units
    return cells_of(stratum, day), segments


@dataclass(frozen=True)
class _Building:
    """A measured file on its way to its report."""

    path: str
    options: AnalyzeOptions
    design: FileDesign
    weights: Mapping[str, Fraction]
    units: KeptRows
    cells: Cells
    segments: Sequence[tuple[str, Cells]]
    stratified: bool

    def report(self) -> Report:
        """Return the document."""
        from experiments.report.software import software

        options, design, units = self.options, self.design, self.units
        looks = file_looks(options, units.counts, self.cells)
        inference = file_inference(options, len(self.variants), looks)
        design = replace(design, simple=[self._with_left_out(s) for s in design.simple])
        srm = self._srm()
        estimates = design.estimates(self.cells, inference, looks, stratified=self.stratified)
        metrics = self._scorecard(estimates, srm, looks)
        plan = self._plan(inference, looks)
        economics = design.economics(metrics, plan, self.cells, looks)
        pooled, outside = design.pooled()
        analysed = sum(units.counts.values())
        past = looks.planned if looks is not None and looks.past_plan else None
        primary = [s for s in design.simple if s.role == "primary"]
        report = Report(
            plan=plan,
            srm=srm,
            contaminated=units.contaminated,
            duplicates=units.duplicates,
            population=Population(
                kind="assigned",
                assigned=analysed + units.contaminated,
                exposed=None,
                analysed=analysed,
                left_out={k: n for k, n in self._left_out().items() if n},
                immature=0,
            ),
            checks=_checks(srm, units, analysed),
            metrics=metrics,
            verdict=None,
            summary=self._summary(metrics, srm, plan),
            curves=file_curves(primary, self.cells, options, inference, looks) if options.entered else [],
            breakdowns=self._breakdowns(inference, looks),
            sequential=[] if looks is None else sequential_tests(estimates, self.variants, looks, options.alpha),
            survival=design.survival(),
            reached=design.reached(),
            pooled=pooled,
            factorial=design.factorial(estimates),
            economics=economics,
            warnings=[
                *file_warnings(metrics, units.no_variant, units.no_unit),
                *design.warnings(),
                *file_specific_warnings(outside, past, 0 if looks is None else looks.matured),
            ],
            methods=[
                *methods_of(metrics, plan, options, by_cluster=design.by_cluster),
                *([] if economics is None else [MONEY]),
            ],
            software=software(),
            moments=[self._moments(s.name, s.columns) for s in design.simple]
            + ([] if design.money is None else [self._moments(ECONOMICS, design.money.group.columns, "beside:")]),
        )
        return sealed(report)

    @property
    def variants(self) -> tuple[str, ...]:
        """Control first."""
        return self.design.rows.variants

    def _srm(self) -> Srm:
        from experiments.report.quality import split_check

        counts = self.units.counts
        if self.design.by_cluster:
            counts = clusters_by_variant(self.design.rows, self.design.levels["cluster"])
        return split_check({v: counts.get(v, 0) for v in self.variants}, {v: float(w) for v, w in self.weights.items()})

    def _scorecard(self, estimates: Sequence[Measured], srm: Srm, looks: Looks | None) -> list[MetricResult]:
        alpha, method = self.options.alpha, self.options.multiplicity or "holm"
        results = scorecard(estimates, self.variants, alpha, unreadable=unreadable_reason(srm), multiplicity=method)
        if looks is None or self.options.looks is not None:
            return results  # which look stopped the test is not known where only the last one's data are there
        return with_stopped(results, estimates, self.variants, looks, alpha)

    def _with_left_out(self, spec: MetricSpec) -> MetricSpec:
        missing = int(np.sum(self.cells.units)) - int(np.sum(self.cells.totals[spec.name].n))
        return replace(spec, left_out={"missing": missing} if missing else {})

    def _breakdowns(self, inference: Inference, looks: Looks | None) -> list[Breakdown]:
        alpha, method = self.options.alpha, self.options.multiplicity or "holm"
        found = [
            breakdown_of(
                s,
                c,
                level,
                alpha,
                inference=inference,
                looks=looks,
                multiplicity=method,
                adjustment=self.options.adjustment or "cuped",
            )
            for level, c in self.segments
            for s in self.design.simple
        ]
        return adjust_interactions(found)

    def _summary(self, metrics: list[MetricResult], srm: Srm, plan: Plan) -> list[Text]:
        guardrails = [] if srm.status == "fail" else guardrail_sentences(metrics, plan)
        if guardrails and all(m.role == "guardrail" for m in metrics):
            return guardrails
        return [*file_summary(metrics, srm, plan), *guardrails]

    def _left_out(self) -> dict[str, int]:
        units = self.units
        return {
            "contaminated": units.contaminated,
            "duplicate": units.duplicates,
            "no_variant": units.no_variant,
            "no_unit": units.no_unit,
        }

    def _plan(self, inference: Inference, looks: Looks | None) -> Plan:
        options, total = self.options, sum(self.weights.values())
        name = Path(self.path).name
        title = f"{name}: {options.variant or ' × '.join(self.design.made.names if self.design.made else ())}"
        bayesian = inference.kind == "bayesian"
        sequential = None
        if looks is not None:
            sequential = SequentialPlan(
                spending="obrien_fleming", planned_units=looks.planned, past_plan=looks.past_plan
            )
        return Plan(
            title={"en": title, "zh-CN": title},
            source=name,
            unit_type="unit" if options.unit else "row",
            enrolment="rolling" if options.entered else "once",
            inference=inference.kind,
            alpha=options.alpha,
            multiplicity="none" if bayesian else options.multiplicity or "holm",
            adjustment=options.adjustment or "cuped",
            strata=list(options.strata),
            cluster=options.cluster,
            design=self._kind(),
            sequential=sequential,
            prior=prior_text(Prior(prior_sd_of(options))) if bayesian else {},
            control=self.variants[0],
            variants=[
                VariantInfo(
                    key=v,
                    name={"en": v, "zh-CN": v},
                    weight=float(self.weights[v] / total),
                    is_control=v == self.variants[0],
                )
                for v in self.variants
            ],
            currency=options.currency,
            planned_units=options.planned_units,
        )

    def _kind(self) -> Literal["units", "clusters", "switchback", "factorial"]:
        if self.options.switchback:
            return "switchback"
        if self.design.made is not None:
            return "factorial"
        return "clusters" if self.design.by_cluster else "units"

    def _moments(self, group: str, columns: Sequence[str], prefix: str = "") -> dict[str, Any]:
        cut = {c: self.design.rows.scans[c].upper for c in columns}
        above = {c: upper for c, upper in cut.items() if upper is not None}
        return {
            "group": prefix + group,
            "variants": list(self.variants),
            **({"winsorised_above": above} if above else {}),
            **self.cells.totals[group].to_dict(),
        }


def _checks(srm: Srm, units: KeptRows, analysed: int) -> list[Check]:
    from experiments.report.quality import contaminated_check, srm_check

    checks = [srm_check(srm)]
    if units.contaminated or units.duplicates:
        checks.append(contaminated_check(units.contaminated, units.duplicates, analysed))
    return checks
