"""A file's metrics in every variant, and the sections that its design adds: the same estimators as the log's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from experiments.analyze.metrics import FileTimes
from experiments.analyze.money import FileMoney
from experiments.analyze.options import AnalyzeOptions
from experiments.analyze.units import MadeVariants
from experiments.definitions.analysis import Factor
from experiments.errors import InputError
from experiments.measure.cells import MISSING_LEVEL, Cells, ColumnGroup, compute_cells
from experiments.measure.clusters import MAX_CLUSTERS, Clustering, cluster_sums, clusters_of
from experiments.measure.economics import ECONOMICS
from experiments.measure.histograms import MOST_VALUES, Histogram, histograms
from experiments.measure.order_statistics import values_around
from experiments.measure.places import MAX_UNITS, PlacePeriods, places_of
from experiments.measure.reached import cells_beside
from experiments.measure.survival import STEPS, EventTimes, grouped_times
from experiments.measure.unit_rows import UnitRows
from experiments.measure.waves import MOST_WAVES, Waves
from experiments.report.clusters import broken_design_warning, measure_clusters, split_warning, too_many_warning
from experiments.report.document import Factorial, MetricResult, Plan, PooledWaves, Reached, SurvivalCurve, Text
from experiments.report.economics import economics_of
from experiments.report.economics_document import Economics
from experiments.report.factorial import factorial_of
from experiments.report.inference import AlwaysValid, Inference
from experiments.report.looks import Looks, latest
from experiments.report.measured import Measured, MetricSpec, measure_metric
from experiments.report.quantiles import measure_quantile
from experiments.report.reached import reached_of
from experiments.report.row_tests import MOST_RESAMPLED, measure_rows
from experiments.report.strata import measure_stratified
from experiments.report.survival import measure_survival, survival_curves
from experiments.report.switchback import measure_switchback
from experiments.report.waves import pooled_waves
from experiments.sources.duck import fetch, fetch_one
from stats.quantiles import Quantiles

MOST_TIMES = 20_000
"""Different times that are told apart; where there are more they are grouped in thousandths of the horizon."""


@dataclass(frozen=True)
class FileDesign:
    """The rows of a file and how they are to be judged."""

    path: str
    options: AnalyzeOptions
    rows: UnitRows
    levels: Mapping[str, str]
    """Columns by what they are for: cluster, wave, place, period."""
    simple: Sequence[MetricSpec]
    from_rows: Sequence[MetricSpec]
    times: Mapping[str, FileTimes]
    made: MadeVariants | None = None
    reached_column: str | None = None
    money: FileMoney | None = None
    by_metric: dict[str, dict[str, EventTimes]] = field(default_factory=dict)

    @cached_property
    def clusters(self) -> Clustering | None:
        """How the units lie in clusters, where a column names these."""
        column = self.levels.get("cluster")
        return None if column is None else clusters_of(self.rows, column)

    @property
    def by_unit(self) -> bool:
        """Whether units of one cluster were given variants one by one, as most clusters of several units show."""
        found = self.clusters
        return found is not None and (self.options.split_clusters or found.mixed > found.several / 2)

    @property
    def by_cluster(self) -> bool:
        """Whether errors are those of whole clusters."""
        found = self.clusters
        return found is not None and not self.by_unit and found.clusters <= MAX_CLUSTERS

    def check(self) -> None:
        """Refuse what cannot be asked of these rows.

        Raises:
            InputError: in one line.
        """
        asked = {"--strata": self.options.strata, "--wave": self.options.wave, "--reached": self.options.reached}
        asked |= {"--breakdown": self.options.breakdowns, "--survival": self.options.survivals}
        asked |= {
            "--rank": self.options.ranks,
            "--bootstrap": self.options.bootstraps,
            "--entered": self.options.entered,
        }
        for name, given in asked.items():
            if given and self.by_cluster:
                raise InputError(
                    f"{name} cannot be joined with --cluster, whose errors are those of whole clusters: leave one out "
                    "(or say --split-clusters if units were given variants one by one)"
                )

    @cached_property
    def places(self) -> PlacePeriods | None:
        """The places and periods of a switchback.

        Raises:
            InputError: when there are too many, or one stands twice.
        """
        if not self.options.switchback:
            return None
        table, place, period = self.rows.table, self.levels["place"], self.levels["period"]
        count = int(fetch_one(table.count()))
        if count > MAX_UNITS:
            raise InputError(f"{self.path}: {count:,} places × periods are too many (at most {MAX_UNITS:,})")
        if int(fetch_one(table.filter(table[place].isnull() | table[period].isnull()).count())):
            raise InputError(f"{self.path}: a row has no place or no period; fill it in or remove the row")
        twice = table.group_by([place, period]).aggregate(n=table.count())
        found = fetch(twice.filter(twice.n > 1).limit(1))
        if found:
            raise InputError(
                f"{self.path}: {found[0][place]!r} has more than one row in {found[0][period]!r}: "
                "a switchback has one row for each place and period; sum them up first"
            )
        columns = dict.fromkeys(c for spec in self.simple for c in spec.columns)
        return places_of(self.rows, place, period, tuple(columns))

    def estimates(self, cells: Cells, inference: Inference, looks: Looks | None, *, stratified: bool) -> list[Measured]:
        """Return every metric in every variant.

        Where looks count (group sequential), what cannot be computed again from sums by day is judged by an
        always-valid band instead, narrowest at the plan.
        """
        unlooked = inference
        if looks is not None:
            unlooked = AlwaysValid(max(1.0, looks.planned * 2 / len(self.rows.variants)))
        found = [self._simple(spec, cells, inference, unlooked, looks, stratified=stratified) for spec in self.simple]
        return [*found, *(self._from_rows(spec, unlooked) for spec in self.from_rows)]

    def _simple(
        self,
        spec: MetricSpec,
        cells: Cells,
        inference: Inference,
        unlooked: Inference,
        looks: Looks | None,
        *,
        stratified: bool,
    ) -> Measured:
        if self.places is not None:
            return measure_switchback(spec, cells.totals[spec.name], self.places, inference)
        if self.by_cluster:
            sums = cluster_sums(self.rows, self.levels["cluster"], spec.columns)
            return measure_clusters(spec, sums, len(self.rows.variants), unlooked, covariates=spec.covariates)
        if stratified:
            moments = cells.groups[spec.name]
            history = None if looks is None else looks.history(moments)
            now = moments.sum(axis=2) if history is None else latest(history)
            return measure_stratified(spec, now, inference, history, covariates=spec.covariates)
        history = None if looks is None else looks.history(cells.by_day(spec.name))
        now = cells.totals[spec.name] if history is None else latest(history)
        adjustment = self.options.adjustment or "cuped"
        return measure_metric(spec, now, 0, inference=inference, looks=history, adjustment=adjustment)

    def _from_rows(self, spec: MetricSpec, inference: Inference) -> Measured:
        variants = self.rows.variants
        if spec.kind == "quantile":
            return measure_quantile(spec, self._quantiles(spec), variants, inference)
        if spec.kind == "time_to_event":
            return measure_survival(spec, self._times(spec.name), variants, inference)
        found = histograms(self.rows, spec.value)
        if found is None:
            raise InputError(
                f"{self.path}: column {spec.value!r} has more than {MOST_VALUES:,} different values, too many for "
                "ranks and the bootstrap: name it with --metric or --quantile"
            )
        if spec.kind == "rank":
            return measure_rows(spec, found, "brunner_munzel")
        self._check_resampled(spec, found)
        return measure_rows(spec, found, "bootstrap_bca")

    def _check_resampled(self, spec: MetricSpec, found: Sequence[Histogram]) -> None:
        most = max(histogram.n for histogram in found)
        if most > MOST_RESAMPLED:
            raise InputError(
                f"{self.path}: --bootstrap {spec.value!r}: {most:,} units in a variant are too many to draw again and "
                f"again (at most {MOST_RESAMPLED:,}); of so many the mean's own interval is as good: use --metric"
            )

    def _quantiles(self, spec: MetricSpec) -> dict[str, Quantiles]:
        import ibis

        table = self.rows.table
        chosen = {"variant": table[self.rows.variant], "value": table[spec.value]}
        if self.by_cluster:
            own = ibis.literal("a unit of its own: ") + table[self.rows.unit].cast("string")
            chosen["u"] = table[self.levels["cluster"]].fill_null(own)
        rows = table.select(**chosen)
        return values_around(rows, spec.quantile or 0.5, self.rows.variants, clustered=self.by_cluster)

    def _times(self, name: str) -> dict[str, EventTimes]:
        if name not in self.by_metric:
            times, table = self.times[name], self.rows.table
            rows = table.select(
                variant=table[self.rows.variant], followed=table[times.followed], happened=table[times.happened]
            )
            rows = rows.filter(rows.followed.notnull())
            exact = int(fetch_one(rows.followed.nunique())) <= MOST_TIMES
            step = 1 if exact else max(1, times.horizon_us // STEPS)
            self.by_metric[name] = grouped_times(rows, self.rows.variants, times.horizon_us, step)
        return self.by_metric[name]

    def _primary(self, specs: Sequence[MetricSpec]) -> list[MetricSpec]:
        return [spec for spec in specs if spec.role == "primary"]

    def survival(self) -> list[SurvivalCurve]:
        """Return the curves of times to an event."""
        wanted = [spec for spec in self.from_rows if spec.kind == "time_to_event"]
        variants, alpha = self.rows.variants, self.options.alpha
        return [curve for s in wanted for curve in survival_curves(s, self._times(s.name), variants, alpha)]

    def reached(self) -> list[Reached]:
        """Return the effects on those reached.

        Raises:
            InputError: when the column does not hold 0 and 1 throughout.
        """
        column = self.reached_column
        if column is None:
            return []
        scan = self.rows.scans[column]
        if not scan.is_binary or scan.missing:
            raise InputError(
                f"{self.path}: --reached {column!r} must hold 0 or 1 in every row, whether the offer reached the unit"
            )
        specs = self._primary(self.simple)
        return reached_of(specs, cells_beside(self.rows, column, specs), self.options.alpha, reached=column)

    def pooled(self) -> tuple[list[PooledWaves], int]:
        """Return the waves of the primary metrics, pooled, and how many units belong to none.

        Raises:
            InputError: when there are not several waves, or too many.
        """
        column = self.levels.get("wave")
        if column is None:
            return [], 0
        waves = int(fetch_one(self.rows.table[column].nunique()))
        if not 2 <= waves <= MOST_WAVES:
            raise InputError(
                f"{self.path}: --wave {self.options.wave!r} has {waves:,} different values: pooling needs 2 to "
                f"{MOST_WAVES} waves"
            )
        specs = self._primary(self.simple)
        groups = [ColumnGroup(s.name, s.columns) for s in specs]
        rows = self.rows
        cells = compute_cells(
            rows.table, groups, rows.scans, variant=rows.variant, variants=rows.variants, stratum=column
        )
        known = tuple(level for level in cells.strata if level != MISSING_LEVEL)
        outside = int(fetch_one(rows.table[column].isnull().sum()) or 0)
        return pooled_waves(specs, Waves(known, 0, cells), self.options.alpha), outside

    def factorial(self, estimates: Sequence[Measured]) -> list[Factorial]:
        """Return main effects and interactions of the primary metrics."""
        if self.made is None:
            return []
        factors = [
            Factor.model_construct(key=key, levels=dict(zip(self.made.variants, levels, strict=True)))
            for key, levels in self.made.levels.items()
        ]
        primary = [m for m in estimates if m.spec.role == "primary" and m.spec.kind != "rank"]
        return factorial_of(primary, factors, self.rows.variants, self.options.alpha)

    def economics(
        self, results: Sequence[MetricResult], plan: Plan, cells: Cells, looks: Looks | None
    ) -> Economics | None:
        """Return whether the offers paid for themselves, where the file tells of money.

        Args:
            results: the scorecard.
            plan: names.
            cells: moments of the money too.
            looks: group sequential: the units are those of the last one, as in the scorecard.
        """
        money = self.money
        if money is None:
            return None
        dependent = self.by_cluster or self.places is not None
        moments = cells.totals[ECONOMICS]
        if looks is not None and not dependent:
            moments = latest(looks.history(cells.by_day(ECONOMICS)))
        result = next(r for r in results if r.name == money.spec.name)
        found = economics_of(
            money.columns,
            {ECONOMICS: moments},
            result,
            plan,
            dependent=dependent,
            adjusted=self.options.adjustment != "none",
        )
        return None if found is None else money.told(found)

    def warnings(self) -> list[Text]:
        """Say what the clusters do not bear."""
        found, column = self.clusters, self.options.cluster or ""
        if found is None:
            return []
        if self.by_unit:
            said = [split_warning(column, found)]
        else:
            said = [broken_design_warning(column, found)]
            if not self.by_cluster:
                said.append(too_many_warning(column, found))
        return [text for text in said if text is not None]
