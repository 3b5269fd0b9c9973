"""Segments as groups of members: how many each rule describes now."""
