"""What a job is asked to do, as its ``params`` keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from experiments.errors import InputError


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what is asked of a job with several parameters.

    What is left at its default is not kept, so fields can be added; one that this version does not know is refused.
    """

    def params(self) -> dict[str, Any]:
        """Return it as the job keeps it."""
        return dict(msgspec.to_builtins(self))

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """Return what a job keeps.

        Raises:
            InputError: for one of a newer version.
        """
        try:
            return msgspec.convert(dict(params), cls)
        except msgspec.ValidationError as error:
            raise InputError(
                f"this version does not know what the job asks for ({error}); upgrade the worker"
            ) from None
