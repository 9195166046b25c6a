"""The images that the models learnt from and were measured on."""

from pipeline.data.store import SPLITS
from pipeline.report.results import Results


def section(results: Results) -> dict:
    """Each data set."""
    return {"splits": list(SPLITS), "sets": results.data}
