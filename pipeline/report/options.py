"""The block `report` of params.yaml."""

from pydantic import Field

from pipeline.core.block import Block


class Report(Block):
    """What the last stage may do."""

    test: bool = Field(description="read the test images (switch off while you search)")
    registers: bool = Field(
        alias="register",  # which is also a method of every pydantic model
        description="register the model that ships in MLflow, and move `champion` if it is as good",
    )
    keeps: float = Field(
        0.97,
        gt=0,
        le=1,
        description="share of its teacher's val accuracy that a distilled model must have to ship",
    )
