"""Where everything is kept: one SQLAlchemy store on SQLite (embedded) or PostgreSQL (production)."""

from experiments.store.engine import Store, StoreError, failure, open_store, without_password
from experiments.store.patience import REQUEST, WORK, Patience

__all__ = ["REQUEST", "WORK", "Patience", "Store", "StoreError", "failure", "open_store", "without_password"]
