"""When a serving process counts as hung: its event loop stands still while the supervisor itself runs."""

from __future__ import annotations

from collections.abc import Sequence

from api.serving.watchdog import HUNG_AFTER_S, Watchdog


def looks(dog: Watchdog, turns: Sequence[float], since: float, seconds: float, every: float = 0.5) -> list[float]:
    """Let the supervisor look now and then; return after how many seconds a process was told to hang."""
    count = round(seconds / every)
    return [step * every for step in range(1, count + 1) if dog.hung(turns, since + step * every)]


def test_one_that_stands_still_is_told_once_in_each_limit() -> None:
    dog = Watchdog()
    dog.hung([5.0], 100)
    told = looks(dog, [5.0], 100, 3 * HUNG_AFTER_S)
    assert HUNG_AFTER_S < told[0] <= HUNG_AFTER_S + 1
    assert len(told) == 2


def test_one_that_turns_however_slowly_is_left_alone() -> None:
    dog = Watchdog()
    for number in range(1, 10):
        assert looks(dog, [float(number)], number * 25.0, 25) == []


def test_only_the_one_that_hangs_is_named() -> None:
    dog = Watchdog(limit_s=2)
    found = [dog.hung([1.0, float(number), 0.0], number * 1.0) for number in range(1, 5)]
    assert found == [[], [], [], [0]]


def test_one_that_has_not_begun_or_was_just_replaced_is_not_expected_to_turn() -> None:
    dog = Watchdog()
    assert looks(dog, [0.0], 0, 100) == []
    dog.hung([3.0], 101)
    assert looks(dog, [3.0], 101, HUNG_AFTER_S - 1) == []
    assert looks(dog, [0.0], 130, 1) == []
    assert looks(dog, [3.0], 131, HUNG_AFTER_S - 1) == [], "the successor has a time of its own"


def test_a_machine_that_slept_wakes_up_with_everybody_alive() -> None:
    """The clock is an hour on, and no event loop has had the time to turn yet."""
    dog = Watchdog()
    dog.hung([5.0, 8.0], 100)
    for sleep in range(1, 11):
        assert dog.hung([5.0, 8.0], 100 + 3600.0 * sleep) == []
