"""Report what OpenFeature showed, and what came of it, to Equipoise through a Segment client.

Copy this file into your application. It needs ``openfeature-sdk``, ``openfeature-provider-ofrep`` and a client with
Segment's ``track``: ``segment-analytics-python`` and ``rudder-sdk-python`` have the same one.

    import segment.analytics as segment
    from openfeature import api
    from equipoise_openfeature import EquipoiseProvider, ExposureHook

    segment.write_key, segment.host = "eqp_…", "https://equipoise.example.com"
    api.set_provider(EquipoiseProvider("https://equipoise.example.com", track=segment.track))
    api.add_hooks([ExposureHook(segment.track)])
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.track import TrackingEventDetails

EXPOSURE = "Experiment Viewed"
REMEMBERED = 10_000
"""Decisions whose exposure was reported: each is reported once by a process."""

Track = Callable[..., Any]
"""Segment's ``track(user_id, event, properties)``."""

_log = logging.getLogger("equipoise.openfeature")


class ExposureHook(Hook):
    """Reports that a member met its variant: only one that is enrolled, never a code default or a fallback."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._reported: dict[str, None] = {}
        self._guard = threading.Lock()

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[Any], hints: HookHints) -> None:
        """Report the exposure; a failure to do so never changes what the application gets."""
        del hints
        unit = hook_context.evaluation_context.targeting_key
        metadata: Mapping[str, Any] = details.flag_metadata or {}
        decision = metadata.get("decisionId")
        if not unit or metadata.get("enrolled") is not True or not isinstance(decision, str):
            return
        if self._first(decision):
            properties = {
                "decision_id": decision,
                "experiment": metadata.get("experiment", details.flag_key),
                "variant": details.variant,
                **_unit_type(metadata.get("flagSetId")),
            }
            _report(self._track, unit, EXPOSURE, properties)

    def _first(self, decision: str) -> bool:
        with self._guard:
            if decision in self._reported:
                return False
            self._reported[decision] = None
            if len(self._reported) > REMEMBERED:
                del self._reported[next(iter(self._reported))]
            return True


class EquipoiseProvider(OFREPProvider):
    """The OFREP provider, whose ``client.track`` reports outcomes; OFREP itself has no way to."""

    def __init__(self, base_url: str, *, track: Track, **options: Any) -> None:
        super().__init__(base_url, **options)
        self._report = track

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Report an outcome of the context's member; ``value`` is an amount of money in major units."""
        context = evaluation_context or EvaluationContext()
        if not context.targeting_key:
            _log.warning("an outcome without a targeting key is not reported: %s", tracking_event_name)
            return
        properties = dict(tracking_event_details.attributes) if tracking_event_details else {}
        if tracking_event_details is not None and tracking_event_details.value is not None:
            properties["value"] = tracking_event_details.value
        properties.update(_unit_type(context.attributes.get("unitType")))
        _report(self._report, context.targeting_key, tracking_event_name, properties)


def _unit_type(unit_type: object) -> dict[str, str]:
    return {"unit_type": unit_type} if isinstance(unit_type, str) and unit_type != "member" else {}


def _report(track: Track, unit: str, event: str, properties: dict[str, Any]) -> None:
    try:
        track(unit, event, properties)
    except Exception as error:  # noqa: BLE001 - whatever it is, the application goes on
        _log.warning("%s could not be reported: %s", event, type(error).__name__)
