"""What the model reads of members: numbers that are none are refused, levels that nobody had before are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.errors import InputError
from experiments.targeting.roster import Roster
from experiments.targeting.scoring import columns_of, unseen
from experiments.uplift.learned import Learned, rows_of_file
from experiments.uplift.options import FileOptions


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    path = tmp_path_factory.mktemp("trial") / "trial.csv"
    lines = [
        f"{'none' if n % 2 else 'a'},{18 + n % 50},{('gold', 'basic')[n % 3 > 0]},{n % 5 == 0:d}" for n in range(400)
    ]
    path.write_text("arm,age,tier,bought\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return rows_of_file(path, FileOptions(variant="arm", control="none", outcome="bought", attributes=("age", "tier")))


def roster(age: list[str | None], tier: list[str | None]) -> Roster:
    units = [f"m-{number}" for number in range(len(age))]
    columns = {"age": np.array(age, dtype=object), "tier": np.array(tier, dtype=object)}
    return Roster(units, columns, np.zeros(len(age), dtype=bool), {})


def read(learned: Learned, people: Roster) -> dict[str, Any]:
    return columns_of(learned, people, {}, types={}, at_us=0, time_zone="UTC")


def test_numbers_are_read_and_what_is_unknown_stays_unknown(learned: Learned) -> None:
    found = read(learned, roster(["30", None, "NA", "41.5"], ["gold"] * 4))
    np.testing.assert_array_equal(found["age"], [30.0, np.nan, np.nan, 41.5])


def test_text_where_the_model_reads_numbers_is_refused_with_its_value(learned: Learned) -> None:
    with pytest.raises(
        InputError, match="reads 'age' as a number, and 2 of the list have something else, such as 'old'"
    ):
        read(learned, roster(["30", "old", "young"], ["gold"] * 3))


def test_levels_of_which_nothing_was_learned_are_told(learned: Learned) -> None:
    assert unseen(learned, roster(["30", "40"], ["gold", None])) == []
    (note,) = unseen(learned, roster(["30", "40", "50"], ["diamond", "basic", "diamond"]))
    assert note["en"].startswith("2 members have a tier of which nothing was learned (diamond)")
    assert "2 人的 tier" in note["zh-CN"]
