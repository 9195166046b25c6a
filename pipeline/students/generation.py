"""The block of a noisy student in params.yaml."""

from pydantic import Field

from pipeline.labelling.rule import LabelsOverride
from pipeline.students.options import Methods, Student


class Generation(Student):
    """A noisy student: labels and its teacher's pseudo-labels."""

    methods: Methods = Field(Methods(), description="what it learns by besides these")
    labels: LabelsOverride = Field(
        LabelsOverride(), description="keys of `labels` that differ for this generation"
    )
