"""Environments whose truth is known, and any policy running in them."""
