"""What this node remembers for a little while: its recent answers, the enrolments they made, the events it has seen.

All bounded, oldest forgotten first. Forgetting is safe: the store keeps the first row of an id, whoever sends it again.
What is remembered in such numbers is made of objects that the garbage collector does not follow (``gc=False``): a
collection that has to look at each of them stops every answer for a tenth of a second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from allocation.decision import Enrolment, MemberState

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """A dictionary that forgets its oldest entry when it is full.

    >>> seen: Bounded[str, int] = Bounded(2)
    >>> for name in "abc":
    ...     seen.put(name, 1)
    >>> seen.get("a"), seen.get("c"), len(seen)
    (None, 1, 2)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # Not a plain dict: finding its first key means passing over all that were deleted before it, 27 µs here.
        self._items: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: K) -> bool:
        return key in self._items

    def get(self, key: K) -> V | None:
        """Return what is remembered, or ``None``."""
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Remember; replacing an entry keeps its age."""
        items = self._items
        items[key] = value
        if len(items) > self.limit:
            items.popitem(last=False)

    def forget(self, key: K) -> None:
        """Forget, when it is there."""
        self._items.pop(key, None)


def with_own_enrolments(state: MemberState, *own: Mapping[str, Enrolment] | None) -> MemberState:
    """Return the published state of a member with the enrolments this node made since.

    Where both know an experiment, the later phase counts; within a phase the published one, which was first. Of the
    ids of one unit the one that this node enrolled first counts.

    Args:
        state: as published.
        own: what this node decided for each id of the unit, in the order of the ids.

    >>> state = MemberState(enrolments={"x": Enrolment(1, "a", 5)})
    >>> with_own_enrolments(state, {"x": Enrolment(1, "b", 9), "y": Enrolment(1, "c", 9)}).enrolments["y"].variant
    'c'
    >>> with_own_enrolments(state, {"x": Enrolment(1, "b", 9)}).enrolments["x"].variant
    'a'
    >>> with_own_enrolments(state, {"y": Enrolment(1, "c", 9)}, {"y": Enrolment(1, "d", 7)}).enrolments["y"].variant
    'd'
    """
    enrolments = None
    made = [enrolment for known in own if known for enrolment in known.items()]
    for experiment, enrolment in sorted(made, key=lambda item: item[1].since) if len(made) > 1 else made:
        if enrolments is None:
            enrolments = dict(state.enrolments)
        published = enrolments.get(experiment)
        if published is None or enrolment.phase > published.phase:
            enrolments[experiment] = enrolment
    return state if enrolments is None else msgspec.structs.replace(state, enrolments=enrolments)
