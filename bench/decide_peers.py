"""The same experiment in five other engines, fed from memory: country is US, everybody in traffic, three even variants.

Each function takes the country of the units to come and returns a callable: unit → name of its variant. All run without
network; where an engine logs, its logging is on only in the row that says so.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from typing import Any

Decide = Callable[[str], str]
VARIANTS = ("control", "a", "b")


def _eppo_client(logger: Any) -> Any:
    import eppo_client

    def split(i: int) -> dict[str, Any]:
        thirds = [0, 3333, 6667, 10_000]
        everybody = {"salt": "traffic", "ranges": [{"start": 0, "end": 10_000}]}
        mine = {"salt": "split", "ranges": [{"start": thirds[i], "end": thirds[i + 1]}]}
        return {"variationKey": VARIANTS[i], "shards": [everybody, mine]}

    rule = {"conditions": [{"attribute": "country", "operator": "ONE_OF", "value": ["US"]}]}
    flag = {
        "key": "bench",
        "enabled": True,
        "variationType": "STRING",
        "variations": {v: {"key": v, "value": v} for v in VARIANTS},
        "allocations": [{"key": "all", "rules": [rule], "splits": [split(i) for i in range(3)], "doLog": True}],
        "totalShards": 10_000,
    }
    config = {
        "createdAt": "2026-01-01T00:00:00.000Z",
        "format": "SERVER",
        "environment": {"name": "Bench"},
        "flags": {"bench": flag},
    }
    settings = eppo_client.ClientConfig(
        api_key="none",
        assignment_logger=logger,
        poll_interval_seconds=None,
        initial_configuration=eppo_client.Configuration(flags_configuration=json.dumps(config).encode()),
    )
    return eppo_client.init(settings)


def eppo_with_logger(country: str) -> Decide:
    """Eppo's engine (Rust) with the least logger there is: it keeps the event it is handed."""
    import eppo_client

    class Logger(eppo_client.AssignmentLogger):  # type: ignore[misc]
        last: Any = None

        def log_assignment(self, event: Any) -> None:
            self.last = event

    logger = Logger()
    client = _eppo_client(logger)
    client.get_string_assignment("bench", "probe", {"country": "US"}, "none")
    assert logger.last["subject"] == "probe", logger.last  # the logger is really called
    attributes = {"country": country}
    return lambda unit: str(client.get_string_assignment("bench", unit, attributes, "none"))


def statsig(country: str) -> Decide:
    """Statsig's engine (Rust), logging off; the user object belongs to each decision."""
    from statsig_python_core import Statsig, StatsigOptions, StatsigUser
    from statsig_python_core.data_store import DataStore, DataStoreResponse

    def condition(kind: str, operator: str, value: Any, **more: Any) -> dict[str, Any]:
        return {
            "type": kind, "targetValue": value, "operator": operator, "field": None, "additionalValues": {},
            "idType": "userID", **more,
        }  # fmt: skip

    def rule(name: str, conditions: list[str], variant: str | None) -> dict[str, Any]:
        return {
            "name": name, "groupName": name, "passPercentage": 100, "conditions": conditions, "id": name, "salt": name,
            "returnValue": {} if variant is None else {"variant": variant}, "idType": "userID",
            "isExperimentGroup": variant is not None,
        }  # fmt: skip

    conditions = {
        "abroad": condition("user_field", "none", ["US"], field="country"),
        "third": condition("user_bucket", "lt", 333, additionalValues={"salt": "split"}),
        "two thirds": condition("user_bucket", "lt", 667, additionalValues={"salt": "split"}),
        "all": condition("user_bucket", "lt", 1000, additionalValues={"salt": "split"}),
    }
    rules = [rule("targeting", ["abroad"], None)]
    rules += [rule(v, [c], v) for v, c in zip(VARIANTS, ("third", "two thirds", "all"), strict=True)]
    spec = {
        "name": "bench", "type": "dynamic_config", "salt": "split", "enabled": True, "defaultValue": {}, "rules": rules,
        "idType": "userID", "entity": "experiment", "explicitParameters": [], "isActive": True,
        "hasSharedParams": False,
    }  # fmt: skip
    specs = {
        "feature_gates": {}, "dynamic_configs": {"bench": spec}, "layer_configs": {}, "condition_map": conditions,
        "has_updates": True, "time": 1_700_000_000_000, "id_lists": {}, "layers": {}, "experiment_to_layer": {},
    }  # fmt: skip

    class Store(DataStore):  # type: ignore[misc]
        def get(self, key: str) -> DataStoreResponse:  # noqa: ARG002 - the interface of a store
            return DataStoreResponse(result=json.dumps(specs), time=1_700_000_000_000)

    options = StatsigOptions(
        data_store=Store(),
        disable_network=True,
        disable_all_logging=True,
        disable_country_lookup=True,
        spec_adapter_configs=None,
        output_log_level="none",
    )
    client = Statsig("secret-none", options)
    client.initialize().wait()
    return lambda unit: str(
        client.get_experiment(StatsigUser(user_id=unit, country=country), "bench").value.get("variant", "none")
    )


def _growthbook_features() -> dict[str, Any]:
    experiment = {
        "key": "bench",
        "seed": "split",
        "variations": list(VARIANTS),
        "coverage": 1.0,
        "weights": [1 / 3] * 3,
    }
    rule = {**experiment, "condition": {"country": "US"}, "hashAttribute": "id", "hashVersion": 2}
    return {"bench": {"defaultValue": "none", "rules": [rule]}}


class _Tracked:
    """The least tracking callback there is: it keeps what it is handed."""

    last: Any = None

    def __call__(self, experiment: Any, result: Any, user_context: Any) -> None:
        self.last = (experiment, result, user_context)


def growthbook(country: str) -> Decide:
    """GrowthBook's SDK (Python) as its documentation shows it: an object for each request, with a tracking callback."""
    from growthbook import GrowthBook

    features, track = _growthbook_features(), _Tracked()

    def decide(unit: str) -> str:
        client = GrowthBook(attributes={"id": unit, "country": country}, features=features, on_experiment_viewed=track)
        return str(client.eval_feature("bench").value)

    assert decide("probe") == "none" or track.last is not None
    return decide


def growthbook_reused(country: str) -> Decide:
    """GrowthBook's SDK with one object that is given each user's attributes in turn."""
    from growthbook import GrowthBook

    client = GrowthBook(features=_growthbook_features(), on_experiment_viewed=_Tracked())

    def decide(unit: str) -> str:
        client.set_attributes({"id": unit, "country": country})
        return str(client.eval_feature("bench").value)

    return decide


def optimizely(country: str) -> Decide:
    """Optimizely's SDK (Python), decision event disabled."""
    from optimizely.decision.optimizely_decide_option import OptimizelyDecideOption
    from optimizely.event_dispatcher import EventDispatcher
    from optimizely.optimizely import Optimizely

    ends = (3333, 6667, 10_000)
    experiment = {
        "id": "1", "key": "bench", "status": "Running", "layerId": "1", "forcedVariations": {}, "audienceIds": ["us"],
        "variations": [{"id": v, "key": v, "featureEnabled": True, "variables": []} for v in VARIANTS],
        "trafficAllocation": [{"entityId": v, "endOfRange": e} for v, e in zip(VARIANTS, ends, strict=True)],
    }  # fmt: skip
    us = ["and", ["or", ["or", {"name": "country", "type": "custom_attribute", "match": "exact", "value": "US"}]]]
    datafile = {
        "version": "4", "rollouts": [], "typedAudiences": [{"id": "us", "name": "US", "conditions": us}],
        "anonymizeIP": True, "projectId": "1", "variables": [], "experiments": [experiment], "audiences": [],
        "featureFlags": [
            {"id": "1", "key": "bench", "rolloutId": "", "experimentIds": ["1"], "variables": []}
        ],
        "groups": [], "attributes": [{"id": "1", "key": "country"}], "botFiltering": False, "accountId": "1",
        "events": [], "revision": "1",
    }  # fmt: skip
    client = Optimizely(datafile=json.dumps(datafile), event_dispatcher=EventDispatcher)
    options = [OptimizelyDecideOption.DISABLE_DECISION_EVENT]
    attributes = {"country": country}

    def decide(unit: str) -> str:
        user = client.create_user_context(unit, attributes)
        assert user is not None
        return str(user.decide("bench", options).variation_key)

    return decide


def unleash(country: str) -> Decide:
    """Unleash's SDK (Rust engine behind Python), from a bootstrap document."""
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    strategy = {
        "name": "flexibleRollout",
        "parameters": {"rollout": "100", "stickiness": "userId", "groupId": "bench"},
        "constraints": [{"contextName": "country", "operator": "IN", "values": ["US"], "inverted": False}],
        "variants": [
            {
                "name": v,
                "weight": w,
                "weightType": "fix",
                "stickiness": "userId",
                "payload": {"type": "string", "value": v},
            }
            for v, w in zip(VARIANTS, (333, 333, 334), strict=True)
        ],
    }
    features = {
        "version": 1,
        "features": [{"name": "bench", "type": "experiment", "enabled": True, "strategies": [strategy]}],
    }
    cache = FileCache("bench", directory=tempfile.mkdtemp())
    cache.bootstrap_from_dict(features)
    client = UnleashClient(
        "http://127.0.0.1:9/api",
        "bench",
        cache=cache,
        disable_metrics=True,
        disable_registration=True,
    )
    client.initialize_client(fetch_toggles=False)
    attributes = {"country": country}
    return lambda unit: str(client.get_variant("bench", {"userId": unit, "properties": attributes})["name"])


PEERS: dict[str, Callable[[str], Decide]] = {
    "eppo-server-sdk 4.4.1, with its logger": eppo_with_logger,
    "statsig-python-core 0.24.0, logging off": statsig,
    "growthbook 4.0.0, tracking": growthbook,
    "growthbook 4.0.0, one object reused": growthbook_reused,
    "optimizely-sdk 5.7.0, event off": optimizely,
    "UnleashClient 6.9.1": unleash,
}
