"""A holdout: units that are in no experiment of its scope, so that the whole programme can be measured."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from experiments.definitions.base import Key, Model, Name, Share, Text, refuse


class Scope(Model):
    """Experiments and layers that a scoped holdout covers."""

    experiments: tuple[Key, ...] = ()
    layers: tuple[Key, ...] = ()


class Holdout(Model):
    """A share of all units, under a salt of its own.

    >>> Holdout(kind="holdout", key="global-2026h1", share="2%").share
    '0.02'
    """

    kind: Literal["holdout"]
    key: Key
    name: Text | None = None
    unit_type: Name = "member"
    share: Share
    scope: Literal["global"] | Scope = "global"
    """``global``, or lists of experiments and layers."""

    @model_validator(mode="after")
    def _scope_is_not_empty(self) -> Holdout:
        if isinstance(self.scope, Scope) and not (self.scope.experiments or self.scope.layers):
            refuse("holdout", [(("scope",), "names no experiment and no layer; write global, or list some")])
        return self

    def covers(self, experiment: str, layer: str | None) -> bool:
        """Return whether an experiment (in ``layer``) is inside the scope."""
        if self.scope == "global":
            return True
        return experiment in self.scope.experiments or (layer is not None and layer in self.scope.layers)
