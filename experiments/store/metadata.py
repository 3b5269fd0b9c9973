"""The one ``MetaData`` of the database, and the column types that all tables share.

Tables live beside this file in modules named ``…_tables``; ``all_tables`` imports every one of them, so a new table
module needs no registration.
"""

from __future__ import annotations

import importlib
import pkgutil

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

KeyText = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
"""Text compared by its bytes on every database: keys, ids, codes. SQLite does so by itself; on PostgreSQL an index in
the server's language would be slower and would break when the system's collation rules change."""


def all_tables() -> sa.MetaData:
    """Return ``metadata`` with the tables of every ``…_tables`` module of this package.

    >>> "decisions" in all_tables().tables
    True
    """
    package = importlib.import_module(__package__ or "experiments.store")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_tables"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return metadata
