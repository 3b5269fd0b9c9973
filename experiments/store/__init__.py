"""Where everything is kept: one SQLAlchemy store on SQLite (embedded) or PostgreSQL (production)."""

from experiments.store.engine import Store, StoreError, open_store

__all__ = ["Store", "StoreError", "open_store"]
