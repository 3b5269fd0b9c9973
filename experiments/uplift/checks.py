"""Whether the data bear words of cause and effect: what was looked at, what was found, what would be needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from experiments.report import figures
from experiments.report.document import Text
from experiments.uplift.document import Check
from experiments.uplift.learned import Learned
from stats.distributions import chi_square_upper
from stats.uplift.giveaways import Giveaway, giveaways
from stats.uplift.randomised import CAUTION_BELOW, FAIL_BELOW, RARE, Diagnosis, Finding

LABELS: dict[str, Text] = {
    "design": {"en": "Who drew the arms", "zh-CN": "分组方式"},
    "split": {"en": "Split as planned", "zh-CN": "流量比例"},
    "propensity": {"en": "Attributes do not tell the arm", "zh-CN": "属性无法预测分组"},
    "balance": {"en": "Arms alike before", "zh-CN": "组间事前均衡"},
    "overlap": {"en": "Everybody could get every arm", "zh-CN": "各组概率均大于零"},
    "before": {"en": "Attributes were known before", "zh-CN": "属性为事前信息"},
    "lost": {"en": "Outcomes known in every arm alike", "zh-CN": "各组结果完整程度相同"},
    "outcomes": {"en": "Outcomes are final", "zh-CN": "结果已成熟"},
}
WRONG: dict[str, Text] = {
    "split": {"en": "the split is not as planned", "zh-CN": "流量比例与计划不符"},
    "propensity": {"en": "attributes tell the arm", "zh-CN": "属性可预测分组"},
    "balance": {"en": "the arms differed before", "zh-CN": "各组事前不均衡"},
    "overlap": {"en": "not everybody could get every arm", "zh-CN": "部分对象不可能进入某组"},
    "design": {"en": "nobody drew the arms", "zh-CN": "分组并非随机"},
    "before": {"en": "an attribute gives the outcome away", "zh-CN": "有属性泄露了结果"},
    "lost": {"en": "outcomes are missing in some arms more than in others", "zh-CN": "各组缺失结果的比例不同"},
}
"""What a check that fails means, as it stands within a sentence; its label says what has to hold."""
MOST_OPEN = 0.2
"""Share of units whose outcome is not final from which that is cautioned of."""


def checks_of(learned: Learned, diagnosis: Diagnosis, *, observational: bool = False) -> list[Check]:
    """Return every check.

    Args:
        learned: the rows.
        diagnosis: of them.
        observational: whether it was said that nobody drew the arms.
    """
    found = [_of_finding(finding, learned, diagnosis) for finding in diagnosis.findings]
    if observational:
        found.insert(0, _observational())
    told = giveaways(learned.trial, learned.encoder.names)
    if told:
        found.append(_before(told, learned))
    if (lost := _lost(learned)) is not None:
        found.append(lost)
    open_ = learned.left_out.get("immature", 0)
    if open_:
        found.append(_open(open_, learned))
    return found


def causal(checks: Sequence[Check]) -> bool:
    """Return whether nothing speaks against words of cause and effect."""
    return all(check.status != "fail" for check in checks)


def _observational() -> Check:
    return Check(
        code="design",
        status="fail",
        label=LABELS["design"],
        value={"en": "nobody: members or staff chose", "zh-CN": "非随机：由会员或人工选择"},
        needed={
            "en": "an experiment in which chance decides who gets what; a tenth of the members is often enough",
            "zh-CN": "由随机决定谁得到什么的实验；通常十分之一的会员就足够",
        },
    )


def _open(units: int, learned: Learned) -> Check:
    share = 1 - learned.share_left
    return Check(
        code="outcomes",
        status="caution" if share > MOST_OPEN else "ok",
        label=LABELS["outcomes"],
        value={
            "en": f"{units:,} units whose window is not over are left out",
            "zh-CN": f"{units:,} 个窗口未结束的对象未计入",
        },
    )


def _before(told: Sequence[Giveaway], learned: Learned) -> Check:
    attribute_of = dict(zip(learned.encoder.names, learned.encoder.attribute_of, strict=True))
    first: dict[str, Giveaway] = {}
    for one in told:
        first.setdefault(attribute_of[one.name], one)
    outcome = {lang: learned.outcome_label.get(lang) or learned.outcome for lang in ("en", "zh-CN")}
    said: dict[str, list[str]] = {"en": [], "zh-CN": []}
    for name, one in first.items():
        label = shown_name(learned, name)
        share = f"{100 * one.share:.0f}%"
        words = {
            "told": (
                f"{label['en']} tells {share} of {outcome['en']}",
                f"{label['zh-CN']} 可解释 {outcome['zh-CN']} 的 {share}",
            ),
            "step": (
                f"part of {label['en']} has nobody with {outcome['en']}, and half of all are in it",
                f"{label['zh-CN']} 的某一部分（过半对象）没有任何 {outcome['zh-CN']}",
            ),
            "sure": (
                f"part of {label['en']} has {outcome['en']} for certain",
                f"{label['zh-CN']} 的某一部分必有 {outcome['zh-CN']}",
            ),
        }[one.kind]
        said["en"].append(words[0])
        said["zh-CN"].append(words[1])
    return Check(
        code="before",
        status="fail" if any(one.kind == "told" for one in told) else "caution",
        label=LABELS["before"],
        value={"en": "; ".join(said["en"]), "zh-CN": "；".join(said["zh-CN"])},
        needed={
            "en": "attributes that were recorded before the offer; leave out what came with the outcome or after it",
            "zh-CN": "发放之前已记录的属性；去掉与结果同时或之后产生的属性",
        },
    )


def _lost(learned: Learned) -> Check | None:
    """Compare the share of units without an outcome between arms.

    Where an offer makes outcomes known, who is left out differs by arm, and what is left is no longer as it was drawn.
    """
    propensity = learned.trial.propensity
    if not learned.left_out.get("no_outcome") or (propensity != propensity[:1]).any():
        return None  # where propensities differ between units, those of an arm may well be without outcome more often
    kept = np.bincount(learned.trial.arm, minlength=len(learned.arms)).astype(np.float64)
    all_ = np.array([learned.counts.get(key, 0) for key in learned.arms], dtype=np.float64)
    gone = all_ - kept
    share = gone.sum() / all_.sum()
    if not 0 < share < 1 or (gone < 0).any():
        return None
    statistic = float(((gone - all_ * share) ** 2 / (all_ * share * (1 - share))).sum())
    p_value = float(chi_square_upper(len(all_) - 1, statistic))
    status: Literal["ok", "caution", "fail"] = (
        "fail" if p_value < FAIL_BELOW else "caution" if p_value < CAUTION_BELOW else "ok"
    )
    shown = " : ".join(f"{100 * each:.1f}%" for each in gone / all_)
    return Check(
        code="lost",
        status=status,
        label=LABELS["lost"],
        value={
            "en": f"{int(gone.sum()):,} of {int(all_.sum()):,} have none ({shown}), p {figures.p_value(p_value)}",
            "zh-CN": f"{int(all_.sum()):,} 个中 {int(gone.sum()):,} 个缺失（{shown}），p {figures.p_value(p_value)}",
        },
        needed={}
        if status == "ok"
        else {
            "en": "the outcome of every unit; where nothing came of it, write 0 and not an empty cell",
            "zh-CN": "每个对象的结果；没有转化应写 0，而不是留空",
        },
    )


def _of_finding(finding: Finding, learned: Learned, diagnosis: Diagnosis) -> Check:
    value, needed = _WORDS[finding.code](finding, learned, diagnosis)
    if finding.status == "ok":
        needed = {}
    return Check(
        code=finding.code,
        status=finding.status,
        label=LABELS[finding.code],
        value=value,
        needed=needed,
    )


def _p(finding: Finding) -> str:
    return figures.p_value(finding.p_value)


def _split(finding: Finding, learned: Learned, diagnosis: Diagnosis) -> tuple[Text, Text]:
    del diagnosis
    counts = np.bincount(learned.trial.arm, minlength=len(learned.arms))
    shown = " : ".join(f"{count:,}" for count in counts)
    if finding.p_value is None:
        return (
            {"en": f"{shown}; what was planned is not known", "zh-CN": f"{shown}；计划比例未知"},
            {"en": "the shares that were planned (--split)", "zh-CN": "计划的流量比例（--split）"},
        )
    planned = " : ".join(f"{share:,.0f}" for share in learned.trial.propensity.sum(axis=0))
    return (
        {
            "en": f"{shown} where {planned} were planned, p {_p(finding)}",
            "zh-CN": f"{shown}，计划 {planned}，p {_p(finding)}",
        },
        {
            "en": "units that were lost or counted twice, found and put right; weights do not mend a wrong split",
            "zh-CN": "找出并修正丢失或重复计数的对象；加权无法修复错误的比例",
        },
    )


def shown_name(learned: Learned, column: str) -> Text:
    """Return what a column of the features is called: its attribute's name for people, and its level."""
    attribute = max((name for name in learned.columns if column.startswith(name)), key=len, default="")
    label = learned.labels.get(attribute) or {"en": attribute, "zh-CN": attribute}
    return {lang: (label.get(lang) or attribute) + column[len(attribute) :] for lang in ("en", "zh-CN")}


def _propensity(finding: Finding, learned: Learned, diagnosis: Diagnosis) -> tuple[Text, Text]:
    if finding.p_value is None:
        return {"en": "cannot be told", "zh-CN": "无法判断"}, {}
    auc = diagnosis.auc
    told = "" if auc is None else f"AUC {auc.estimate:.3f}, "
    shown = {"en": f"{told}p {_p(finding)}", "zh-CN": f"{told}p {_p(finding)}".replace(", ", "，")}
    widest = shown_name(learned, diagnosis.differences[0].name if diagnosis.differences else "")
    return shown, {
        "en": "an experiment that draws the arm by chance, or the log of the probabilities by which it was drawn; "
        f"leave out attributes that were recorded after the draw (look at {widest['en']} first)",
        "zh-CN": f"随机分组的实验，或分组概率的日志；去掉分组之后才记录的属性（先看 {widest['zh-CN']}）",
    }


def _balance(finding: Finding, learned: Learned, diagnosis: Diagnosis) -> tuple[Text, Text]:
    del finding
    if not diagnosis.differences:
        return {"en": "no attribute to compare", "zh-CN": "没有可比较的属性"}, {}
    widest = diagnosis.differences[0]
    size, arm = f"{abs(widest.standardised):.3f}", learned.arms[widest.arm]
    name = shown_name(learned, widest.name)
    return (
        {
            "en": f"at most {size} standard deviations apart ({name['en']}, {arm})",
            "zh-CN": f"最大相差 {size} 个标准差（{name['zh-CN']}，{arm}）",
        },
        {
            "en": "arms that were alike before the offer, as a draw by chance makes them",
            "zh-CN": "优惠之前各组相同，随机分组即可做到",
        },
    )


def _overlap(finding: Finding, learned: Learned, diagnosis: Diagnosis) -> tuple[Text, Text]:
    del finding, learned
    least = diagnosis.smallest_propensity
    few = least < RARE
    return (
        {"en": f"least probability {least:.3g}", "zh-CN": f"最小概率 {least:.3g}"},
        {"en": "a larger share drawn by chance", "zh-CN": "更大比例的随机分组"} if few else {},
    )


_WORDS = {"split": _split, "propensity": _propensity, "balance": _balance, "overlap": _overlap}
