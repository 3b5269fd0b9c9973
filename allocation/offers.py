"""What variants give: one offer for all, or each unit's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from allocation.plan import VariantPlan


class Offer(dict[str, Any]):
    """An offer as a read-only dict: one object serves every decision of a snapshot, so nobody may change it.

    >>> Offer({"key": "coupon-20"})["key"] = "other"
    Traceback (most recent call last):
    TypeError: an offer is shared by all decisions and cannot be changed; copy it with dict(offer)
    """

    __slots__ = ("_json",)
    _json: msgspec.Raw

    @property
    def json(self) -> msgspec.Raw:
        """The offer as JSON, written once for all answers that carry it.

        >>> bytes(Offer({"key": "coupon-20"}).json)
        b'{"key":"coupon-20"}'
        """
        try:
            return self._json
        except AttributeError:
            self._json = msgspec.Raw(msgspec.json.encode(dict(self)))
            return self._json

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("an offer is shared by all decisions and cannot be changed; copy it with dict(offer)")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Pickle and deep-copy as a plain dict."""
        return dict, (dict(self),)


class OfferBy(msgspec.Struct, frozen=True):
    """A variant that gives each unit its own offer."""

    attribute: str
    offers: dict[str, Offer]

    def of(self, view: Mapping[str, Any]) -> Offer | None:
        """Return the offer of a unit with these attributes; ``None`` without a key that is known.

        >>> own = OfferBy("best", {"a": Offer({"key": "a"})})
        >>> own.of({"best": "a"}), own.of({"best": "b"}), own.of({})
        ({'key': 'a'}, None, None)
        """
        key = view.get(self.attribute)
        return self.offers.get(key) if isinstance(key, str) else None


def offer_of(value: dict[str, Any] | None) -> Offer | None:
    """Return a plan's offer, immutable throughout; ``None`` where it gives nothing."""
    return None if value is None else Offer({key: _immutable(item) for key, item in value.items()})


def own_of(variant: VariantPlan) -> OfferBy | None:
    """Return how a variant gives each unit its own offer; ``None`` where it does not."""
    if variant.offer_by is None:
        return None
    return OfferBy(variant.offer_by, {key: Offer(_immutable(offer)) for key, offer in variant.offers.items()})


def _immutable(value: Any) -> Any:
    if isinstance(value, dict):
        return Offer({key: _immutable(item) for key, item in value.items()})
    return tuple(_immutable(item) for item in value) if isinstance(value, list | tuple) else value
