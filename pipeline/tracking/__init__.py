"""Experiment tracking: the only room that knows MLflow.

Two experiments: `lineage` holds one run per pipeline (what a person compares), `lineage-stages`
one run per executed stage. Tracking never costs a result: outputs are on disk before it is called,
and a server that is slow or gone is given up after one warning.
"""

from pipeline.tracking.record import (
    record_data,
    record_model,
    record_pipeline,
    send,
    stage_run,
    unsent,
)
from pipeline.tracking.tracker import PIPELINES, STAGES, NullTracker, flat, is_on, start, uri

__all__ = [
    "PIPELINES",
    "STAGES",
    "NullTracker",
    "flat",
    "is_on",
    "record_data",
    "record_model",
    "record_pipeline",
    "send",
    "stage_run",
    "start",
    "unsent",
    "uri",
]
