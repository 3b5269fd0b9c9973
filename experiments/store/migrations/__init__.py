"""Alembic scripts, shipped with the package."""
