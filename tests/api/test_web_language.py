"""Languages and numbers of the pages; the Chinese catalogue is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import api.web
from api.web.language import choose_language, language
from api.web.numbers import MINUS, Numbers

WEB = Path(api.web.__file__).parent
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
OPTIONS = {"templates/**.html": {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}}
EN = Numbers(language("en"), "CNY", "Asia/Shanghai")
ZH = Numbers(language("zh-CN"), "CNY", "Asia/Shanghai")


def source_messages() -> set[str]:
    """Extract every sentence of the pages' code and templates."""
    found = extract_from_dir(str(WEB), METHODS, OPTIONS)
    return {m[0] if isinstance(m, tuple) else m for _, _, m, _, _ in found}


def chinese() -> Catalog:
    with (WEB / "translations/zh_CN/LC_MESSAGES/messages.po").open("rb") as file:
        return read_po(file, locale="zh_CN")


def key(message: Message) -> str:
    return str(message.id[0] if isinstance(message.id, (tuple, list)) else message.id)


def test_every_sentence_has_a_chinese_one_and_none_is_left_over() -> None:
    translated = {key(m) for m in chinese() if m.id}
    wanted = source_messages()
    assert len(wanted) > 200
    assert wanted - translated == set(), "not translated: see api/web/translations/babel.cfg"
    assert translated - wanted == set(), "translated but not used"


def test_sentences_are_found_by_name() -> None:
    # The extraction looks for calls of `_`, `gettext` and `ngettext`; under another name a sentence would be missed.
    for path in WEB.rglob("*.py"):
        for line in path.read_text("utf-8").splitlines():
            aliased = re.search(r"\.(n?gettext)(?!\()", line)
            assert (
                not aliased
                or re.search(r"_ = (self\.)?(language|words)\.gettext$", line)
                or path.name in {"pages.py", "language.py"}
            ), line


def test_no_translation_is_empty_or_fuzzy() -> None:
    for message in chinese():
        if message.id:
            strings = message.string if isinstance(message.string, (tuple, list)) else (message.string,)
            assert all(strings), f"empty: {key(message)}"
            assert not message.fuzzy, f"fuzzy: {key(message)}"


def test_translations_keep_the_placeholders() -> None:
    for message in chinese():
        if not message.id:
            continue
        plural = isinstance(message.id, (tuple, list))
        allowed = set(re.findall(r"%\((\w+)\)s", " ".join(message.id) if plural else str(message.id)))
        for string in message.string if plural else (message.string,):
            used = set(re.findall(r"%\((\w+)\)s", str(string)))
            assert used == allowed, f"{key(message)!r} → {string!r}"


@pytest.mark.parametrize(
    ("asked", "cookie", "accepted", "expected"),
    [
        ("zh-CN", "en", "en", "zh-CN"),
        ("zh", None, "en", "zh-CN"),
        (None, "zh-CN", "en", "zh-CN"),
        (None, None, "zh-TW,zh;q=0.9,en;q=0.8", "zh-CN"),
        (None, None, "fr,de;q=0.9", "en"),
        (None, None, "en-GB,zh;q=0.5", "en"),
        (None, None, "zh;q=0.2, en;q=0.9", "en"),
        ("xx", "yy", ";;q=,", "en"),
        (None, None, None, "en"),
        ("../../etc", None, "zh", "zh-CN"),
    ],
)
def test_language_is_address_then_cookie_then_browser(
    asked: str | None, cookie: str | None, accepted: str | None, expected: str
) -> None:
    assert choose_language(asked, cookie, accepted) == expected


def test_a_language_map_falls_back_and_says_so() -> None:
    words = language("zh-CN")
    assert words.text({"en": "A", "zh-CN": "甲"}) == "甲"
    assert words.text({"en": "A"}) == "A"
    assert words.said_in({"en": "A"}) == "en"
    assert words.said_in({"zh-CN": "甲"}) is None
    assert words.text({}) == ""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (EN.change(0.09), "+9.0%"),
        (EN.change(-0.0834), f"{MINUS}8.3%"),
        (EN.change(-0.00001), "0.0%"),
        (EN.change(123.0), "+12,300%"),
        (EN.change(None), "–"),
        (EN.share(0.0642), "6.42%"),
        (EN.share(0.25), "25.0%"),
        (EN.effect(0.012, "share", scale=0.2), "+1.2 pp"),
        (EN.effect(0.00042, "share", scale=0.0082), "+0.04 pp"),
        (EN.effect(-0.35, "money"), f"{MINUS}¥0.35"),
        (EN.effect(0.0, "money"), "¥0.00"),
        (EN.effect(128.4, "money", scale=1_000.68), "+¥128"),
        (EN.range_in(-0.001, 0.002, "absolute", "share", scale=0.05), f"{MINUS}0.10 to +0.20 pp"),
        (EN.total(1_840_000.0, "money"), "+¥1.84M"),
        (EN.total(44_480.4, "money"), "+¥44,480"),
        (ZH.total(461_000.0, "money"), "+¥46.1万"),
        (ZH.total(-123_456_789.0, "money"), f"{MINUS}¥1.23亿"),
        (ZH.total(44_480.0, "money"), "+¥44,480"),
        (EN.p_value(0.0), "<0.001"),
        (EN.p_value(0.0101), "0.010"),
        (EN.p_value(0.285), "0.28"),
        (EN.p_value(1.0), ">0.99"),
        (EN.p_value(None), "–"),
        (EN.interval(None, "+2"), "up to +2"),
        (ZH.interval("+1", "+2"), "+1 至 +2"),
        (EN.count(195_794), "195,794"),
        (EN.date("2026-03-02T16:00:00Z"), "3 Mar 2026"),
        (ZH.date("2026-03-02T16:00:00Z"), "2026年3月3日"),
        (EN.date("not a date"), "–"),
        (EN.time("2026-03-30T22:10:00Z"), "31 Mar 2026 06:10 CST"),
        (Numbers(language("en"), "JPY").effect(12.0, "money"), "+¥12"),
        (Numbers(language("en"), None).value(12.5, "money"), "12.50"),
        (Numbers(language("en"), "CHF").money(3.5), "CHF\u00a03.50"),
    ],
)
def test_numbers_are_written_as_agreed(written: str, expected: str) -> None:
    assert written == expected


def test_rounding_is_exact_at_halves() -> None:
    # 2.675 is 2.67499… in binary; its shortest text is what people see elsewhere, so the text is rounded (half-even).
    assert EN.money(2.675) == "¥2.68"
    assert EN.money(0.125, 2) == "¥0.12"
