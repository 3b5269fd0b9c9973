"""Write docs/hash-vectors.json: ``python docs/hash_vectors.py``. Needs the standard library only.

It follows docs/hash-spec.md by itself and imports nothing of the service, so that the vectors hold the service and not
the other way round. Running it again gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path

SPACE = 2**52
SALT = "7f3a9c01d2e4b586"


def digest(salt: str, unit: str) -> str:
    """Rule 1."""
    return hashlib.sha256(f"{salt}:{unit}".encode()).hexdigest()


def upper_bounds(weights: list[int]) -> list[int]:
    """Rule 3: exact rationals rounded up."""
    total = sum(weights)
    return [math.ceil(Fraction(sum(weights[: i + 1]), total) * SPACE) for i in range(len(weights))]


def variant(digits: str, weights: list[int]) -> int:
    """Rule 3: the first variant whose upper bound is above the digits."""
    return next(i for i, upper in enumerate(upper_bounds(weights)) if int(digits, 16) < upper)


def vector(name: str, salt: str, unit: str, weights: list[int], traffic: str = "1") -> dict[str, object]:
    """Everything that follows from one salt, unit, split and gate."""
    text = digest(salt, unit)
    traffic_bound = math.ceil(Fraction(traffic) * SPACE)
    return {
        "name": name,
        "salt": salt,
        "unit": unit,
        "sha256": text,
        "variant_digits": text[:13],
        "traffic_digits": text[13:26],
        "u": int(text[:13], 16) / SPACE,
        "weights": weights,
        "upper_bounds": upper_bounds(weights),
        "variant": variant(text[:13], weights),
        "traffic": traffic,
        "traffic_bound": traffic_bound,
        "enrolled": int(text[13:26], 16) < traffic_bound,
    }


def texts() -> list[dict[str, object]]:
    """All kinds of text, each under an even split in two and a gate of a half."""
    units = {
        "ASCII": "member-42",
        "one byte": "a",
        "a digit": "0",
        "a space": " ",
        "spaces are kept": " member 42 ",
        "upper case differs": "MEMBER-42",
        "tab and line end": "member\t42\n",
        "quotes": 'o\'brien "x"',
        "backslash": "a\\b",
        "per cent and semicolon": "100%;--",
        "separator in the unit": "a:b",
        "only the separator": ":",
        "starts with the separator": ":42",
        "ends with the separator": "42:",
        "a UUID": "3f2b8c1e-7d4a-4b57-9e0c-5a1d2f6b8c90",
        "leading zeros": "0000042",
        "long number": "90071992547409931234",
        "256 bytes": "m" * 256,
        "255 bytes": "m" * 255,
        "CJK": "会员四十二",
        "CJK, one character": "中",
        "CJK, 256 bytes": "中" * 85 + "a",
        "CJK, full-width digits": "４２",
        "kana": "ひらがなカタカナ",
        "hangul": "회원",
        "emoji": "😀",
        "emoji, joined": "👩‍👩‍👧‍👦",
        "emoji, skin tone": "👍🏽",
        "emoji, 256 bytes": "🎁" * 64,
        "flag": "🇨🇳",
        "composed é": "caf\u00e9",
        "decomposed é is another unit": "cafe\u0301",
        "right to left": "عضو-٤٢",
        "outside the BMP": "𠮷野家",
        "DEL and line separator": "a\x7fb\u2028c",
        "byte order mark is text": "\ufeffmember-42",
        "private use": "\ue000",
    }
    found = [vector(f"unit: {name}", SALT, unit, [1, 1], "0.5") for name, unit in units.items()]
    salts = {
        "one character": "s",
        "separator in the salt": "a:b",
        "CJK": "盐",
        "emoji": "🧂",
        "empty": "",
        "64 characters": "0123456789abcdef" * 4,
    }
    found += [vector(f"salt: {name}", salt, "member-42", [1, 1, 1], "0.25") for name, salt in salts.items()]
    # Salt "a" with unit "b:c" and salt "a:b" with unit "c" hash the same text: made salts hold no separator.
    found += [
        vector("salt a, unit b:c", "a", "b:c", [1, 1]),
        vector("salt a:b, unit c: the same text", "a:b", "c", [1, 1]),
    ]
    return found


def splits() -> list[dict[str, object]]:
    """One unit under many splits."""
    named = {
        "one variant": [1],
        "even thirds": [1, 1, 1],
        "ten parts of one": [1] * 10,
        "seven parts of one": [1] * 7,
        "90 to 10": [90, 10],
        "1 to 999999": [1, 999_999],
        "large parts": [3_333_333_333, 3_333_333_333, 3_333_333_334],
        "zero first": [0, 1, 1],
        "zero in the middle": [1, 0, 1],
        "zero last": [1, 1, 0],
        "only the first has weight": [5, 0, 0],
        "only the last has weight": [0, 0, 5],
        "twenty uneven parts": list(range(1, 21)),
    }
    found = [vector(f"split: {name}", SALT, "member-7", weights) for name, weights in named.items()]
    for i in range(10):  # one unit in each of ten even parts
        unit = next(u for n in range(10_000) if variant(digest(SALT, u := f"p{n}")[:13], [1] * 10) == i)
        found.append(vector(f"split: ten parts of one, part {i}", SALT, unit, [1] * 10))
    return found


def gates() -> list[dict[str, object]]:
    """One unit at many gates."""
    shares = ("0", "0.000001", "0.1", "0.35", "0.5", "0.999999", "1", "1/3")
    return [vector(f"traffic: {share}", SALT, "member-9", [1, 1], share) for share in shares]


def nearest() -> list[dict[str, object]]:
    """Units whose digits lie closest to a bound, on either side, among 400,000."""
    units = [f"n{i}" for i in range(400_000)]
    digests = [digest(SALT, unit) for unit in units]
    found = []
    for where, start in (("variant", 0), ("traffic", 13)):
        places = sorted((int(text[start : start + 13], 16), unit) for text, unit in zip(digests, units, strict=True))
        for weights, share in (([1, 1], "1/2"), ([1, 1, 1], "1/3"), ([1] * 10, "0.7")):
            bound = math.ceil(Fraction(share) * SPACE)
            above = next(i for i, (place, _) in enumerate(places) if place >= bound)
            for side, (_, unit) in (("under", places[above - 1]), ("over", places[above])):
                found.append(vector(f"{where}: just {side} {share}", SALT, unit, weights, share))
    return found


def boundaries() -> list[dict[str, object]]:
    """Digits on bounds exactly. No unit is known that hashes to them, so they are given as digits."""
    found = []
    for weights in ([1, 1], [1, 1, 1], [1] * 10, [1, 999_999], [0, 1, 1], [1, 0, 1], [1, 1, 0], [5, 0, 0]):
        places = {0, SPACE - 1}
        for upper in upper_bounds(weights):
            places |= {place for place in (upper - 1, upper, upper + 1) if 0 <= place < SPACE}
        for place in sorted(places):
            digits = f"{place:013x}"
            found.append({"digits": digits, "weights": weights, "variant": variant(digits, weights)})
    return found


def gate_boundaries() -> list[dict[str, object]]:
    """Digits on the bound of a gate, one under and one over."""
    found = []
    for share in ("0", "0.1", "1/3", "0.5", "0.999999", "1"):
        bound = math.ceil(Fraction(share) * SPACE)
        places = {0, SPACE - 1} | {place for place in (bound - 1, bound, bound + 1) if 0 <= place < SPACE}
        found += [
            {"digits": f"{place:013x}", "traffic": share, "traffic_bound": bound, "enrolled": place < bound}
            for place in sorted(places)
        ]
    return found


def identities() -> list[dict[str, object]]:
    """Decision ids. With these options ``json.dumps`` writes what ``JSON.stringify`` does."""
    parts: list[list[object]] = [
        ["dormant-winback", 1, "member", "member-42", ""],
        ["dormant-winback", 2, "member", "member-42", ""],
        ["dormant-winback", 1, "member", "member-42", "send-2026-03-01"],
        ["dormant-winback", 1, "household", "member-42", ""],
        ["dormant-winback", 1, "member", "会员四十二", "cart_7.1"],
        ["dormant-winback", 1, "member", "😀", ""],
        ["dormant-winback", 1, "member", 'o\'brien "x" a\\b a/b', ""],
        ["dormant-winback", 1, "member", "tab\tnewline\ncontrol\x1fdel\x7f\u2028", ""],
        ["dormant-winback", 1, "member", 'a",1]', "A-Z.a_z"],
        ["x", 10, "store", "m" * 256, "o" * 64],
    ]
    found = []
    for array in parts:
        text = json.dumps(array, ensure_ascii=False, separators=(",", ":"))
        found.append({"array": array, "decision_id": hashlib.sha256(text.encode()).hexdigest()[:32]})
    return found


def main() -> None:
    """Write the file, one vector a line."""
    document = {
        "about": "Vectors of docs/hash-spec.md, written by docs/hash_vectors.py.",
        "vectors": [*texts(), *splits(), *gates(), *nearest()],
        "boundaries": boundaries(),
        "gate_boundaries": gate_boundaries(),
        "decision_ids": identities(),
    }
    target = Path(__file__).with_name("hash-vectors.json")
    lists = {name: value for name, value in document.items() if isinstance(value, list)}
    lines = ["{", f' "about": {json.dumps(document["about"])},']
    for name, items in lists.items():  # one vector a line: a changed vector is a changed line
        rows = ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in items)
        lines.append(f' "{name}": [\n{rows}\n ]{"" if name == list(lists)[-1] else ","}')
    target.write_text("\n".join([*lines, "}", ""]), encoding="utf-8")
    print(", ".join(f"{len(items)} {name}" for name, items in lists.items()))  # noqa: T201 - a script's answer


if __name__ == "__main__":
    main()
