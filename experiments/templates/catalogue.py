"""Definitions to begin with, by industry: a stage rule, offers, metrics and one ready experiment in each file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from experiments.errors import unknown_name


@dataclass(frozen=True)
class Template:
    """One industry's file."""

    key: str
    name: dict[str, str]
    about: dict[str, str]
    """What its ready experiment asks."""

    @property
    def text(self) -> str:
        """The file: YAML, several documents, with comments in both languages."""
        return files(__package__).joinpath(f"{self.key}.yaml").read_text(encoding="utf-8")


_ALL = (
    Template(
        "retail",
        {"en": "Retail", "zh-CN": "零售"},
        {
            "en": "Which offer wins dormant members back: ¥30 off ¥100, 10% off or double points?",
            "zh-CN": "用满100减30、9折还是双倍积分唤回沉睡会员？",
        },
    ),
    Template(
        "catering",
        {"en": "Catering", "zh-CN": "餐饮"},
        {
            "en": "What brings guests back for a second visit: a stamp card, a coupon or a members' day?",
            "zh-CN": "集星卡、优惠券还是会员日能带来第二次到店？",
        },
    ),
    Template(
        "hotel",
        {"en": "Hotel", "zh-CN": "酒店"},
        {
            "en": "Half a year without a stay: a discount, a room upgrade or a late check-out?",
            "zh-CN": "半年未入住：折扣、升级房型还是延迟退房？",
        },
    ),
    Template(
        "education",
        {"en": "Education", "zh-CN": "教育"},
        {
            "en": "After the trial lesson: money off, a second trial or a study plan?",
            "zh-CN": "体验课之后：立减、再体验一节还是学习规划？",
        },
    ),
    Template(
        "fitness",
        {"en": "Fitness", "zh-CN": "健身"},
        {
            "en": "Two weeks without a visit: a reminder, a friend or a trainer?",
            "zh-CN": "两周未到店：提醒、好友同行还是私教体验？",
        },
    ),
    Template(
        "beauty",
        {"en": "Beauty", "zh-CN": "美妆"},
        {
            "en": "Before the bottle is empty: a reminder, samples or ¥50 off ¥200?",
            "zh-CN": "用完之前：提醒、小样还是满200减50？",
        },
    ),
    Template(
        "aesthetic-medicine",
        {"en": "Aesthetic medicine", "zh-CN": "医美"},
        {
            "en": "Clients who stay away: a greeting, a consultation or a voucher? Without any health data.",
            "zh-CN": "久未到店的客户：问候、面诊还是满减？不含任何健康信息。",
        },
    ),
)
TEMPLATES = {template.key: template for template in _ALL}


def find(name: str) -> Template:
    """Return a template by its key, or by its name in either language.

    Raises:
        InputError: naming those there are.

    >>> find("零售").key, find("Beauty").key
    ('retail', 'beauty')
    """
    for template in _ALL:
        if name.strip().lower() in (template.key, *(text.lower() for text in template.name.values())):
            return template
    raise unknown_name("template", name, list(TEMPLATES), "here")
