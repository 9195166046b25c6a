"""What `prepare` takes: far less memory than its images, and no library that it has no use for."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

PREPARE = """
import json, sys, tracemalloc
import jinja2, torch  # code is no copy of the images
from pipeline.sources import alignment, lookalikes
from pipeline.sources.options import Data
from pipeline.sources.prepare import prepare
data = Data(source="folder", root="photos", classes=["cat", "dog"], labels_per_class=4,
            val=0.2, test=0.2, seed=0)
tracemalloc.start()
prepare(data, "base", data.classes, 4)
print(json.dumps([tracemalloc.get_traced_memory()[1], sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def traced(tmp_path_factory) -> tuple[int, set[str]]:
    """Most bytes held at a time in preparing 25 MB of images in one process; modules loaded."""
    folder, rng = tmp_path_factory.mktemp("prepared"), np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(250):
            pixels = rng.integers(0, 256, 128 * 128 * 3, dtype=np.uint8).tobytes()
            path = folder / "photos" / label / f"{number}.ppm"
            path.write_bytes(b"P6 128 128 255\n" + pixels)
    environment = {"PYTHONPATH": str(ROOT), "LINEAGE_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PREPARE],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    peak, modules = json.loads(done.stdout)
    return peak, set(modules)


def test_no_copy_of_the_images_is_held(traced):
    array = 500 * 128 * 128 * 3
    assert traced[0] < 0.5 * array  # descriptions of the images are kept to compare them


def test_no_library_of_networks_is_loaded(traced):
    assert "pipeline.sources.prepare" in traced[1]
    assert not {"torchvision", "kornia", "sklearn", "mlflow"} & traced[1]
