"""Which software computed a report."""

from __future__ import annotations

from importlib.metadata import version


def software() -> str:
    """Return the distribution's name and version.

    >>> software().startswith("equipoise ")
    True
    """
    return f"equipoise {version('equipoise')}"
