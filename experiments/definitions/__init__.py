"""What people write: pydantic models of every kind of definition, and the reader of YAML and JSON documents."""

from __future__ import annotations

from experiments.definitions.attribute import Attribute
from experiments.definitions.errors import DefinitionError, Problem
from experiments.definitions.experiment import Experiment, Variant
from experiments.definitions.holdout import Holdout
from experiments.definitions.layer import Layer
from experiments.definitions.metric import Metric
from experiments.definitions.offer import Offer
from experiments.definitions.project import Project
from experiments.definitions.segment import Segment
from experiments.definitions.stage_rule import StageRule

Definition = Project | Offer | Metric | Layer | Holdout | Segment | StageRule | Experiment
"""Any of the eight kinds."""

__all__ = [
    "Attribute",
    "Definition",
    "DefinitionError",
    "Experiment",
    "Holdout",
    "Layer",
    "Metric",
    "Offer",
    "Problem",
    "Project",
    "Segment",
    "StageRule",
    "Variant",
]
