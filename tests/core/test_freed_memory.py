"""What the process frees stays with it."""

import subprocess
import sys

import pytest

from pipeline.core import memory

FAULTS = """
import resource, sys
from pipeline.core.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
import numpy as np
for times in range(10):
    if times == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [np.ones(130_000) for _ in range(64)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Page faults of 64 arrays of a megabyte, made and freed together eight times over."""
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is asked")
def test_freed_memory_is_used_again():
    assert faults("keep") < 100 < faults("leave")


def test_elsewhere_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed_memory()
