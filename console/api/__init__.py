"""The REST API: one blueprint per resource. Refusals are `{"error": {"code", "message", "cure"}}`."""

from console.api import (
    corrections,
    door,
    drift,
    health,
    images,
    inspection_logs,
    labeling_queue,
    openapi,
    overview,
    predictions,
    retraining,
)

BLUEPRINTS = (
    health.blueprint,
    retraining.blueprint,
    labeling_queue.blueprint,
    drift.blueprint,
    corrections.blueprint,
    overview.blueprint,
    door.blueprint,
    predictions.blueprint,
    inspection_logs.blueprint,
    images.blueprint,
    openapi.blueprint,
)
