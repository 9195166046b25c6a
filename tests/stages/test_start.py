"""What a stage does not run, it does not import: each of these costs a second or more."""

import os
import subprocess
import sys

from conftest import ROOT

COMMANDS = """
import sys
from stages import extend, pseudo_label, student, teacher

teacher.main()
pseudo_label.main(["g1"])
student.main(["g1"])
extend.main(["t1"])
heavy = {"mlflow", "torchvision", "sklearn", "scipy", "pandas", "matplotlib", "torch._dynamo"}
print("imported:", *sorted(heavy & sys.modules.keys()))
"""


def test_a_training_stage_imports_nothing_heavy_but_torch_and_kornia(chain):
    settings = {"PYTHONPATH": str(ROOT), "LINEAGE_TRACKING": "on"}
    command = [sys.executable, "-c", COMMANDS]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["imported:"]
    assert len(list(chain.glob(".lineage/journal/*/events.jsonl"))) == 4, "they were tracked"
