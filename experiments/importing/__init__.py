"""Files into the log: experiments that some other tool split, and outcomes that some other tool recorded."""

from experiments.importing.decisions import import_decisions
from experiments.importing.events import import_events
from experiments.importing.mapping import DecisionMapping, EventMapping, MemberMapping, WideEvent
from experiments.importing.members import import_members
from experiments.importing.run import ImportResult, RowProblem

__all__ = [
    "DecisionMapping",
    "EventMapping",
    "ImportResult",
    "MemberMapping",
    "RowProblem",
    "WideEvent",
    "import_decisions",
    "import_events",
    "import_members",
]
