"""A layer: experiments in one layer exclude each other; layers are independent."""

from __future__ import annotations

from typing import Literal

from experiments.definitions.base import Key, MadeSalt, Model, Name, Text


class Layer(Model):
    """One layer; its salt is made by the service.

    >>> Layer(kind="layer", key="winback").key
    'winback'
    """

    kind: Literal["layer"]
    key: Key
    name: Text | None = None
    unit_type: Name = "member"
    made: MadeSalt | None = None
