"""What the database says that operators want to be alarmed about; read now and then, told at any time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from experiments.store import Store

EVERY_S = 30.0


class Findings:
    """The newest reports' sample-ratio checks, and deliveries of webhooks that failed."""

    def __init__(self) -> None:
        self._read_next = 0.0
        self._reports: dict[str, int] = {}
        """Experiment → number of the report that was read."""
        self._srm: dict[str, float] = {}
        self._webhooks: dict[str, int] = {}

    def read(self, store: Store) -> None:
        """Read what is new, when it is time to."""
        now = time.monotonic()
        if now < self._read_next:
            return
        self._read_next = now + EVERY_S
        self._read_reports(store)
        self._read_webhooks(store)

    def metrics(self) -> Iterable[Metric]:
        """Return what was read last."""
        from prometheus_client.core import GaugeMetricFamily

        srm = GaugeMetricFamily(
            "equipoise_srm_p_value",
            "Of the newest report: how likely so uneven a split is by chance; below 0.001 it is not to be read.",
            labels=["experiment"],
        )
        for experiment, p_value in sorted(self._srm.items()):
            srm.add_metric([experiment], p_value)
        yield srm
        webhooks = GaugeMetricFamily(
            "equipoise_webhook_deliveries",
            "Deliveries that were not accepted yet, and those that were given up.",
            labels=["state"],
        )
        for state, number in sorted(self._webhooks.items()):
            webhooks.add_metric([state], number)
        yield webhooks

    def _read_reports(self, store: Store) -> None:
        import sqlalchemy as sa

        from experiments.report import archive
        from experiments.store.report_tables import reports

        c = reports.c
        with store.read() as connection:
            newest = connection.execute(sa.select(c.experiment, sa.func.max(c.number)).group_by(c.experiment)).all()
        for experiment, number in newest:
            if self._reports.get(experiment) == number:
                continue
            report = archive.load(store, experiment, number)
            self._reports[experiment] = number
            p_value = report.srm.p_value if report is not None else None
            if p_value is None:
                self._srm.pop(experiment, None)
            else:
                self._srm[experiment] = p_value

    def _read_webhooks(self, store: Store) -> None:
        import sqlalchemy as sa

        from experiments.store.webhook_tables import webhook_deliveries

        c = webhook_deliveries.c
        troubled = sa.or_(c.state == "failed", sa.and_(c.state == "pending", c.attempts > 0))
        with store.read() as connection:
            found = connection.execute(sa.select(c.state, sa.func.count()).where(troubled).group_by(c.state))
            counts: dict[str, int] = {row[0]: row[1] for row in found}
        self._webhooks = {"retrying": counts.get("pending", 0), "failed": counts.get("failed", 0)}
