"""The chain that tests share is no edge case: its teachers tell several classes apart."""

import numpy as np
import pytest
from conftest import run_stages, tiny_values, write_params

from pipeline.labelling import pseudo_labels
from stages import pseudo_label, student

LEAST = 3  # classes among the pseudo-labels


def num_classes(name: str) -> int:
    """Classes that a generation's pseudo-labels name."""
    made, _ = pseudo_labels.load(f"data/pseudo_labels/{name}.safetensors")
    return len(np.unique(made.label))


@pytest.mark.parametrize("name", ["g1", "g2"])
def test_pseudo_labels_name_several_classes(chain, name):
    assert num_classes(name) >= LEAST


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_so_they_do_at_any_seed(project, seed):
    write_params(project, tiny_values() | {"seed": seed})
    run_stages("prepare", "teacher")
    pseudo_label.main(["g1"])
    student.main(["g1"])
    pseudo_label.main(["g2"])
    assert min(num_classes("g1"), num_classes("g2")) >= LEAST
