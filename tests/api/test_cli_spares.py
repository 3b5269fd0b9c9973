"""No command writes in the place of the file that it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from api.cli import cli

ROWS = "id,arm,bought,tier\n" + "".join(f"m{n},{'a' if n % 2 else 'none'},{n % 3 % 2},{n % 4}\n" for n in range(40))
ORDERS = "member,paid_at,amount\n" + "".join(f"m{n % 7},2026-0{1 + n % 6}-11,{n}\n" for n in range(1, 40))
LEARNED = ["--variant", "arm", "--control", "none", "--outcome", "bought", "--attribute", "tier"]


@pytest.mark.parametrize(
    ("command", "option", "what"),
    [
        (["uplift", "FILE", *LEARNED, "--scores", "FILE"], "--scores", "file"),
        (["target", "--from", "FILE", *LEARNED, "--list", "other.csv", "--output", "FILE"], "--output", "file"),
        (["target", "--from", "other.csv", *LEARNED, "--list", "FILE", "--output", "FILE"], "--output", "list"),
        (["clv", "ORDERS", "--unit", "member", "--at", "paid_at", "--customers", "ORDERS"], "--customers", "file"),
        (
            ["stages", "compute", "--orders", "ORDERS", "--preset", "3-stage", "--as-of", "2026-07-01T00:00:00Z",
             "--unit", "member", "--at", "paid_at", "--output", "ORDERS"],
            "--output", "file",
        ),
    ],
)  # fmt: skip
def test_what_is_read_is_not_written_over(
    command: list[str], option: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("rows.csv", ROWS), ("other.csv", ROWS), ("orders.csv", ORDERS)):
        Path(name).write_text(text, encoding="utf-8")
    arguments = [word.replace("FILE", "rows.csv").replace("ORDERS", "orders.csv") for word in command]
    ended = CliRunner().invoke(cli, arguments)
    assert ended.exit_code == 2, ended.output
    assert f"{option} " in ended.output
    assert f"is the {what} itself, which would be lost; name another file" in ended.output
    assert Path("rows.csv").read_text(encoding="utf-8") == ROWS
    assert Path("orders.csv").read_text(encoding="utf-8") == ORDERS


def test_a_name_that_is_no_file_is_told_how_an_experiment_is_named() -> None:
    ended = CliRunner().invoke(cli, ["uplift", "dormant-winback"])
    assert ended.exit_code == 2
    assert "--experiment dormant-winback" in ended.output
