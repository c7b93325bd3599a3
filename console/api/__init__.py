"""The REST API: one blueprint per resource. Refusals are `{"error": {"code", "message", "cure"}}`."""

from console.api import corrections, door, drift, health, labeling_queue, overview, predictions, retraining

BLUEPRINTS = (
    health.blueprint,
    retraining.blueprint,
    labeling_queue.blueprint,
    drift.blueprint,
    corrections.blueprint,
    overview.blueprint,
    door.blueprint,
    predictions.blueprint,
)
