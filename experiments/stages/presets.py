"""Stage rules to begin with: the lists that people work with, every threshold a parameter; none of them is a constant.

Practice does not agree on one list, nor on when somebody is gone: 30 or 60 days without a purchase, three months
without a login. So a preset is only written out, to be read and changed, and applied as a definition like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from experiments.errors import unknown_name

PRESETS: dict[str, dict[str, str]] = {
    "3-stage": {"en": "New, active, lost", "zh-CN": "新客–活跃–流失"},
    "5-stage": {
        "en": "Acquired, activated, growing, loyal, lost",
        "zh-CN": "获取–激活–成长–忠诚–流失",
    },
    "potential-new-active-loyal-churn": {
        "en": "Prospect, new, active, loyal, dormant, churned",
        "zh-CN": "潜客–新客–活跃–忠诚–沉睡–流失",
    },
}
"""Name → what it is called."""
_NAMES = {
    "prospect": {"en": "Prospect", "zh-CN": "潜客"},
    "new": {"en": "New", "zh-CN": "新客"},
    "active": {"en": "Active", "zh-CN": "活跃"},
    "loyal": {"en": "Loyal", "zh-CN": "忠诚"},
    "dormant": {"en": "Dormant", "zh-CN": "沉睡"},
    "churned": {"en": "Churned", "zh-CN": "流失"},
    "acquired": {"en": "Acquired", "zh-CN": "获取"},
    "activated": {"en": "Activated", "zh-CN": "激活"},
    "growing": {"en": "Growing", "zh-CN": "成长"},
    "lost": {"en": "Lost", "zh-CN": "流失"},
}


@dataclass(frozen=True)
class Thresholds:
    """When somebody is new, loyal, dormant or gone; whole days."""

    new_days: int = 30
    """New for so many days after the first order, the day of the order included."""
    quiet_days: int = 30
    """Dormant from so many days without an order on."""
    lost_days: int = 60
    """Gone from so many days without an order on."""
    loyal_orders: int = 5
    """Loyal from so many orders in the last 180 days on."""
    login: str | None = None
    """The event that is a login; with it, who has not logged in for ``login_days`` is gone too."""
    login_days: int = 90


def preset(name: str, thresholds: Thresholds | None = None, *, key: str = "lifecycle") -> dict[str, Any]:
    """Return a stage rule as a document.

    Args:
        name: of ``PRESETS``.
        thresholds: by default 30 and 60 days, 5 orders.
        key: of the rule.

    Raises:
        InputError: for another name, naming those there are.

    >>> rule = preset("3-stage", Thresholds(quiet_days=45))
    >>> [stage["stage"] for stage in rule["stages"]], rule["stages"][0]["rule"]
    (['lost', 'new', 'active'], {'attribute': 'last_order_at', 'op': 'days_since', 'gte': 45})
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, list(PRESETS), "here")
    chosen = thresholds or Thresholds()
    stages = {
        "3-stage": [
            _stage("lost", _gone(chosen, chosen.quiet_days)),
            _stage(
                "new",
                {"any": [_compare("orders", "eq", 0), _since("first_order_at", most=chosen.new_days - 1)]},
            ),
            _stage("active"),
        ],
        "5-stage": [
            _stage("acquired", _compare("orders", "eq", 0)),
            _stage("lost", _gone(chosen, chosen.quiet_days)),
            _stage("loyal", _compare("orders_180d", "gte", chosen.loyal_orders)),
            _stage("activated", _compare("orders", "eq", 1)),
            _stage("growing"),
        ],
        "potential-new-active-loyal-churn": [
            _stage("prospect", _compare("orders", "eq", 0)),
            _stage("churned", _gone(chosen, chosen.lost_days)),
            _stage("dormant", _since("last_order_at", least=chosen.quiet_days)),
            _stage("new", _since("first_order_at", most=chosen.new_days - 1)),
            _stage("loyal", _compare("orders_180d", "gte", chosen.loyal_orders)),
            _stage("active"),
        ],
    }[name]
    computed: dict[str, Any] = {} if chosen.login is None else {"login": chosen.login}
    return {
        "kind": "stage_rule",
        "key": key,
        "name": {"en": "Lifecycle", "zh-CN": "生命周期"},
        "attribute": "stage",
        "computed": computed,
        "stages": stages,
    }


def thresholds_of(**given: Any) -> Thresholds:
    """Return thresholds with those that are given, the others by default."""
    known = {field.name for field in fields(Thresholds)}
    return Thresholds(**{name: value for name, value in given.items() if name in known and value is not None})


def _stage(stage: str, rule: dict[str, Any] | None = None) -> dict[str, Any]:
    named: dict[str, Any] = {"stage": stage, "name": _NAMES[stage]}
    return named if rule is None else {**named, "rule": rule}


def _compare(fact: str, op: str, value: int) -> dict[str, Any]:
    return {"attribute": fact, "op": op, "value": value}


def _since(fact: str, *, least: int | None = None, most: int | None = None) -> dict[str, Any]:
    ends = {"gte": least, "lte": most}
    return {"attribute": fact, "op": "days_since", **{k: v for k, v in ends.items() if v is not None}}


def _gone(chosen: Thresholds, days: int) -> dict[str, Any]:
    quiet = _since("last_order_at", least=days)
    if chosen.login is None:
        return quiet
    return {"any": [quiet, _since("last_login_at", least=chosen.login_days)]}
