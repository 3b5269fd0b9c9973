"""SVG elements as escaped markup, and what every chart function returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class DataTable:
    """The numbers behind a chart, already written for people. The first cell of a row is its heading."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and the table it was drawn from."""

    svg: Markup
    table: DataTable


def number(value: float) -> str:
    """Write a coordinate with one decimal."""
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text


def element(tag: str, *children: Markup | str, **attributes: str | float | None) -> Markup:
    """Build one element; everything that is not markup is escaped.

    A trailing underscore of an attribute's name is dropped and others become hyphens; floats become coordinates;
    ``None`` leaves the attribute out.

    Example:
        >>> element("text", "<b>", x=3.14159, class_="ti", text_anchor="end")
        Markup('<text x="3.1" class="ti" text-anchor="end">&lt;b&gt;</text>')
    """
    parts = [f"<{tag}"]
    for key, value in attributes.items():
        if value is not None:
            written = number(value) if isinstance(value, float) else escape(value)
            parts.append(f' {_name(key)}="{written}"')
    if children:
        parts.append(">")
        parts += [escape(child) for child in children]
        parts.append(f"</{tag}>")
    else:
        parts.append("/>")
    # Tags and attribute names are literals of ours; everything else was escaped above.
    return Markup("".join(parts))  # noqa: S704


@cache
def _name(key: str) -> str:
    if key in {"viewBox", "preserveAspectRatio"}:
        return key
    return key.rstrip("_").replace("_", "-")


def text_width(text: str) -> float:
    """Estimate a label's width in pixels at 11 px; Chinese characters are square."""
    return sum(11.0 if ord(c) > 0x2E80 else 6.6 for c in text)


def drawing(
    width: float, height: float, *children: Markup, label: str | None, class_: str | None = None, fluid: bool = False
) -> Markup:
    """Wrap elements into an ``svg`` that says its conclusion, or is hidden from readers when it has none.

    Args:
        width: in CSS pixels.
        height: in CSS pixels.
        children: the elements.
        label: the conclusion in a sentence; None for pure decoration.
        class_: CSS class.
        fluid: True leaves out fixed width and height, so that the picture fills its column.
    """
    return element(
        "svg",
        *children,
        class_=class_,
        viewBox=f"0 0 {width:g} {height:g}",
        width=None if fluid else f"{width:g}",
        height=None if fluid else f"{height:g}",
        role="img" if label else None,
        aria_label=label,
        aria_hidden=None if label else "true",
        focusable="false",
    )
