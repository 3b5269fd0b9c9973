"""The baseline of `bench.http`: our answer as a Flask route, to be run by granian as WSGI.

The same body read by the same parser, the same `allocation.decide`, the same JSON; with the durable address, the same
row through the same spool. It forgets what it answered and knows no keys, so it does a little less than ours.
Environment: ``BENCH_DATA``, a data folder with a published snapshot.
"""

from __future__ import annotations

import os
import time

import msgspec
from flask import Flask, Response, request

from allocation import decide
from allocation.decision import Decision
from api.hot.decide import DecideRequest, parse_request, reply
from experiments.log.rows import DecisionRow
from experiments.log.spool import Spool
from experiments.publishing.snapshot_file import SnapshotFile
from experiments.settings import Settings

_settings = Settings.from_env(data=os.environ["BENCH_DATA"])
_compiled = SnapshotFile(_settings.snapshot_dir).load(time.time_ns() // 1000)
_spool = Spool(_settings.spool_dir)

_encode = msgspec.json.Encoder().encode

app = Flask(__name__)


def _decide(asked: DecideRequest) -> Decision:
    decision = decide(
        _compiled,
        asked.experiment,
        asked.unit,
        now=time.time_ns() // 1000,
        attributes=asked.attributes,
        occasion=asked.occasion,
    )
    if decision.logged:
        _spool.append([DecisionRow.from_decision(decision)]).result()
    return decision


@app.post("/v1/decide")
def answer() -> Response:
    """Decide, wait until the row is on disk where there is one, and answer."""
    decision = _decide(parse_request(request.get_data()))
    return Response(_encode(reply(decision, stale=False)), content_type="application/json")
