"""Write migration 0001 anew from the metadata: ``python -m experiments.store.regenerate``, until the first release.

Afterwards look at the difference and start from an empty database; tests/experiments/test_store.py holds that the
migrations and the metadata say the same on both databases.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext

from experiments.store.metadata import KeyText, all_tables
from experiments.store.migrate import MIGRATIONS

INITIAL = MIGRATIONS / "versions" / "v0001_initial.py"

_FRAME = '''"""All tables of the first release, written by ``python -m experiments.store.regenerate``."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY_TEXT = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    {upgrade}


def downgrade() -> None:
    """Remove them, and everything in them."""
    {downgrade}
'''


def initial_migration() -> str:
    """Return the text of migration 0001: everything that the metadata has and an empty database has not."""
    with sa.create_engine("sqlite://").connect() as connection:
        context = MigrationContext.configure(connection)
        script = produce_migrations(context, all_tables())
    bodies = [
        render_python_code(ops, migration_context=context, render_item=_render_key_text)
        for ops in (script.upgrade_ops, script.downgrade_ops)
        if ops is not None
    ]
    upgrade, downgrade = (
        "\n".join(line for line in body.splitlines() if not line.strip().startswith("# ###")).strip() for body in bodies
    )
    return _FRAME.format(upgrade=upgrade, downgrade=downgrade)


def _render_key_text(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write the shared key type by its name, which the frame defines."""
    return "KEY_TEXT" if kind == "type" and item is KeyText else False


def main(path: Path = INITIAL) -> None:
    """Write the file, formatted."""
    path.write_text(initial_migration(), encoding="utf-8")
    ruff = Path(sys.executable).with_name("ruff")
    if ruff.exists():
        subprocess.run([ruff, "format", "--quiet", path], check=True)  # noqa: S603 - our own tool on our own file


if __name__ == "__main__":
    main()
