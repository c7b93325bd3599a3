"""When to retrain: what is seen (`observe`), what follows from it (`decide`, pure), and how that is told and kept."""

from retrain.policy.conditions import conditions
from retrain.policy.decide import decide
from retrain.policy.guards import CALLED, why_not
from retrain.policy.observe import label_set, observe
from retrain.policy.record import KIND, record, replay
from retrain.policy.state import TRAINED_TASK, PolicyRules, PolicyState, Reason, Verdict

__all__ = [
    "CALLED",
    "KIND",
    "TRAINED_TASK",
    "PolicyRules",
    "PolicyState",
    "Reason",
    "Verdict",
    "conditions",
    "decide",
    "label_set",
    "observe",
    "record",
    "replay",
    "why_not",
]
