"""Checkpoints looked at one after the other: what peeking would have called, and what valid methods do."""

from __future__ import annotations

import msgspec


class ReplayedSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison over its checkpoints. A call is the label of the checkpoint, ``None`` where there was none."""

    experiment: str
    metric: str
    variant: str
    checkpoints: int
    without_variance: int
    """Checkpoints that could not be looked at."""
    faulty: int
    """Checkpoints with fewer units than an earlier one: not looked at either."""
    units: int
    """Of control and variant at the last checkpoint."""
    peeked: str | None
    """First checkpoint with p ≤ alpha by the fixed-horizon test."""
    peeked_share: float | None
    """Share of the last checkpoint's units that had come by then."""
    group_sequential: str | None
    group_sequential_share: float | None
    always_valid: str | None
    always_valid_share: float | None
    at_the_end: bool | None
    """Whether the fixed-horizon test of the last checkpoint calls it: the one look that it is made for."""
    srm_failed: bool
    """Whether the last checkpoint's units do not fit the split (p < .001)."""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """All comparisons of a file, and how many each way of looking calls different."""

    source: str
    alpha: float
    experiments: int
    series: int
    judged: int
    """Series with at least one checkpoint that could be looked at."""
    without_variance: int
    """Series left out because no checkpoint has a variance."""
    partly_without: int
    """Series of which some checkpoints could not be looked at."""
    faulty: int
    """Checkpoints with fewer units than an earlier one of their series."""
    arms: int
    """Figures (an arm at a checkpoint) in the file."""
    arms_derived: int
    """Of these, those whose missing variance follows from the mean, because the metric is proved to be 0 or 1."""
    arms_missing: int
    """Of these, those without a variance."""
    peeked: int
    peeked_only: int
    """Called by peeking, but not by the fixed test at the end."""
    at_the_end: int
    group_sequential: int
    group_sequential_only: int
    """Called by the group-sequential test, but not by the fixed test at the end."""
    always_valid: int
    always_valid_only: int
    srm_failed: int
    rows: list[ReplayedSeries]
    software: str
