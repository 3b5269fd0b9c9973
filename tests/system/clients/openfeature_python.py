"""Asks through the Python SDK as an application would, and says on standard output what it got and what was reported.

What to ask comes as JSON in ASK: base_url, flag, units, context, and report, the address events are sent to.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "contrib" / "python"))

import segment.analytics as segment
from equipoise_openfeature import EquipoiseProvider, ExposureHook
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails

ask = json.loads(os.environ["ASK"])
key = ask.get("key")
reported = []


def track(user_id, event, properties):
    reported.append({"userId": user_id, "event": event, "properties": properties})
    if ask.get("report"):
        segment.track(user_id, event, properties)


segment.write_key, segment.host = key or "any", ask.get("report", "http://127.0.0.1:9")
options = {"headers_factory": lambda: {"Authorization": f"Bearer {key}"}} if key else {}
provider = EquipoiseProvider(ask["base_url"], track=track, timeout=ask.get("timeout_s", 5.0), **options)
api.set_provider(provider)
api.add_hooks([ExposureHook(track)])
client = api.get_client()
answers = []
for unit in ask["units"]:
    context = EvaluationContext(unit, ask.get("context", {}))
    for _ in range(ask.get("times", 1)):
        got = client.get_object_details(ask["flag"], {"code": "default"}, context)
    answers.append(
        {
            "unit": unit,
            "value": got.value,
            "variant": got.variant,
            "reason": got.reason,
            "error": got.error_code,
            "metadata": dict(got.flag_metadata or {}),
        }
    )
    if ask.get("convert"):
        details = TrackingEventDetails(19.9, {"order_id": f"{unit}-1", "currency": "CNY"})
        client.track("Order Completed", context, details)
if ask.get("report"):
    segment.flush()
    segment.shutdown()
sys.stdout.write(json.dumps({"answers": answers, "reported": reported}) + "\n")
