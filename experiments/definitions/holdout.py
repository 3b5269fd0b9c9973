"""A holdout: units that are in no experiment of its scope, so that the whole programme can be measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from experiments.definitions.base import Key, MadeSalt, Model, Name, Share, Text, refuse


class Scope(Model):
    """Experiments and layers that a scoped holdout covers."""

    experiments: tuple[Key, ...] = ()
    layers: tuple[Key, ...] = ()


def _scope(value: Any) -> Any:
    if isinstance(value, str):
        if value != "global":
            raise ValueError(f'"{value}" is no scope; write scope: global, or {{layers: [KEY], experiments: [KEY]}}')
        return None
    return value


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
    scope: Annotated[Scope | None, BeforeValidator(_scope)] = None
    """``None`` is global (people write ``scope: global``); else lists of experiments and layers."""
    made: MadeSalt | None = None

    @model_validator(mode="after")
    def _scope_is_not_empty(self) -> Holdout:
        if self.scope is not None and not (self.scope.experiments or self.scope.layers):
            refuse("holdout", [(("scope",), "names no experiment and no layer; write global, or list some")])
        return self

    def covers(self, experiment: str, layer: str | None) -> bool:
        """Return whether an experiment (in ``layer``) is inside the scope."""
        if self.scope is None:
            return True
        return experiment in self.scope.experiments or (layer is not None and layer in self.scope.layers)
