"""The items of a batch as bytes, also when one of them is no JSON: half a surrogate pair, a NaN, a thousand brackets.

A parser refuses the whole document for one of them, and a client library would drop a hundred good events with it. So
when the document does not parse, its items are told apart by brackets and quotes alone, and each is read on its own.
"""

from __future__ import annotations

import re

MAX_TOKENS = 500_000
MAX_DEPTH = 100_000
# Text that does not end is one token too, and nothing is ever taken back: else every quote in it would be tried to the
# end of the body, and one body of a megabyte would stop the service for an hour.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},:]', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


def split_items(body: bytes, field: str) -> tuple[list[bytes], bytes] | None:
    """Return the items of the list ``field`` of a JSON object, and the object with an empty list in its place.

    Args:
        body: the document.
        field: whose value is the list.

    Returns:
        None when brackets and quotes do not add up, or there is no such list.

    >>> split_items(b'{"batch": [{"a": NaN}, {"b": "],"}], "sentAt": "x"}', "batch")
    ([b'{"a": NaN}', b'{"b": "],"}'], b'{"batch": [], "sentAt": "x"}')
    >>> split_items(b'{"batch": [{"a": 1}', "batch") is None
    True
    """
    wanted = f'"{field}"'.encode()
    open_brackets = bytearray()
    items: list[bytes] = []
    key = previous = b""
    begin = item = end = -1
    for count, token in enumerate(_TOKEN.finditer(body)):
        text = token[0]
        if count > MAX_TOKENS or len(open_brackets) > MAX_DEPTH:
            return None
        if text in {b"[", b"{"}:
            if begin < 0 and text == b"[" and key == wanted and len(open_brackets) == 1:
                begin = item = token.end()
            open_brackets += text
        elif text in {b"]", b"}"}:
            if not open_brackets or _OPENING.index(open_brackets[-1:]) != _CLOSING.index(text):
                return None
            open_brackets.pop()
            if begin >= 0 and end < 0 and len(open_brackets) == 1:
                end = token.start()
                items.append(body[item:end].strip())
        elif text == b"," and begin >= 0 and end < 0 and len(open_brackets) == 2:
            items.append(body[item : token.start()].strip())
            item = token.end()
        elif text == b":" and len(open_brackets) == 1:
            key = previous
        if text != b":":
            previous = text
    if open_brackets or end < 0:
        return None
    if items == [b""]:
        items = []
    if b"" in items:
        return None
    return items, body[:begin] + body[end:]
