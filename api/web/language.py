"""The language of a page: which one is asked for, its sentences, and texts that carry several languages.

Sentences are whole, with named placeholders; English is the source, ``translations/zh_CN/LC_MESSAGES/messages.po`` the
other catalogue. It is compiled in memory at first use, so a checkout and an installed package work alike and the same
code serves the pages and ``equipoise analyze --output html``, which has no application around it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from gettext import NullTranslations
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.core import negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

LANGUAGES = ("en", "zh-CN")
LOCALES = {"en": "en", "zh-CN": "zh_CN"}
SIGN_BEFORE_CURRENCY = re.compile(r"([+\u2212])(?=[^\s\w.,)])")
TRANSLATIONS = Path(__file__).parent / "translations"


@dataclass(frozen=True, slots=True)
class Language:
    """A language with its catalogue.

    Example:
        >>> language("zh-CN").gettext("Experiments")
        '实验'
        >>> language("en").text({"zh-CN": "满100减20"})
        '满100减20'
    """

    tag: str
    """``en`` or ``zh-CN``, as the ``lang`` attribute has it."""
    locale: Locale
    catalogue: NullTranslations

    def gettext(self, message: str, /, **values: object) -> str:
        """Translate a sentence and fill its named placeholders."""
        translated = self.catalogue.gettext(message)
        return translated % values if values else translated.replace("%%", "%")

    def ngettext(self, singular: str, plural: str, num: int, /, **values: object) -> str:
        """Translate a sentence that depends on a number; ``%(num)s`` is that number unless given."""
        values.setdefault("num", num)
        return self.catalogue.ngettext(singular, plural, num) % values

    def text(self, texts: Mapping[str, str] | None) -> str:
        """Pick this language out of a language map, else English, else whatever there is, else an empty text."""
        if not texts:
            return ""
        return texts.get(self.tag) or texts.get("en") or next((t for t in texts.values() if t), "")

    def said_in(self, texts: Mapping[str, str] | None) -> str | None:
        """Return the tag of the language that `text` falls back to, None when it is this one."""
        if not texts or texts.get(self.tag):
            return None
        return "en" if texts.get("en") else next((tag for tag, t in texts.items() if t), None)


def unbroken(text: str) -> str:
    """Keep a sign and its currency on one line, with a word joiner between them; browsers would break there.

    Example:
        >>> len(unbroken("−¥0.35")) - len("−¥0.35")
        1
    """
    return SIGN_BEFORE_CURRENCY.sub("\\1\u2060", text)


@cache
def language(tag: str) -> Language:
    """Return a language by its tag, ``zh`` in any form for Chinese, otherwise English."""
    tag = "zh-CN" if tag.lower().startswith("zh") else "en"
    locale = Locale.parse(LOCALES[tag])
    return Language(tag, locale, _catalogue(LOCALES[tag]))


def _catalogue(locale: str) -> NullTranslations:
    path = TRANSLATIONS / locale / "LC_MESSAGES" / "messages.po"
    if locale == "en":
        return NullTranslations()
    with path.open("rb") as source:
        messages = read_po(source, locale=locale)
    compiled = io.BytesIO()
    write_mo(compiled, messages, use_fuzzy=False)
    compiled.seek(0)
    return Translations(compiled)


def choose_language(asked: str | None, remembered: str | None, accepted: str | None) -> str:
    """Choose a page's language: the address, then the cookie, then what the browser accepts, then English.

    Args:
        asked: value of ``?lang``.
        remembered: value of the cookie.
        accepted: the ``Accept-Language`` header.

    Returns:
        ``en`` or ``zh-CN``.

    Example:
        >>> choose_language(None, None, "fr-CH, zh-TW;q=0.9, en;q=0.8")
        'zh-CN'
        >>> choose_language("en", "zh-CN", "zh-CN")
        'en'
    """
    for choice in (asked, remembered):
        if choice in LANGUAGES:
            return str(choice)
        if choice and choice.lower().split("-")[0].split("_")[0] in {"zh", "en"}:
            return language(choice).tag
    for wanted in _by_preference(accepted or ""):
        if wanted.split("-")[0].lower() == "zh":
            return "zh-CN"
        if negotiate_locale([wanted.replace("-", "_")], ["en"], sep="_"):
            return "en"
    return "en"


def _by_preference(header: str) -> list[str]:
    wanted: list[tuple[float, int, str]] = []
    for position, part in enumerate(header[:1000].split(",")):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
            Locale.parse(tag.split("-")[0])
        except (ValueError, UnknownLocaleError, TypeError):
            continue
        if quality > 0:
            wanted.append((-quality, position, tag))
    return [tag for _, _, tag in sorted(wanted)]
