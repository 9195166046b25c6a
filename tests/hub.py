"""A folder in the place of the network, and weights that torchvision publishes there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from conftest import tiny_values, write_params
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms._presets import ImageClassification
from weights import SHUFFLENET, state

from pipeline.core import files

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


class Hub:
    """Serves a file of shufflenet's weights by the names `IMAGENET1K_V1` and `DEFAULT`.

    Attributes:
        served: the file at the other end.
        cached: where torch keeps its copy.
        sha256: of the file.
        asked: addresses that were downloaded from.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, content: object = None):
        (folder / "far").mkdir()
        torch.save(content or state(), folder / "far" / "w.pth")
        self.sha256 = files.sha256(folder / "far" / "w.pth")
        name = f"shufflenet-{self.sha256[:8]}.pth"
        self.served = (folder / "far" / "w.pth").rename(folder / "far" / name)
        self.cached = folder / "home" / "hub" / "checkpoints" / name
        self.asked: list[str] = []
        patch.setenv("TORCH_HOME", str(folder / "home"))
        patch.delenv("TORCH_HUB", raising=False)
        seen = partial(ImageClassification, crop_size=224, mean=MEAN, std=STD)

        class Stub(WeightsEnum):
            IMAGENET1K_V1 = Weights(self.served.as_uri(), seen, {})
            DEFAULT = IMAGENET1K_V1

        patch.setattr(torchvision.models, "get_model_weights", lambda name: Stub)
        opened = torch.hub.urlopen

        def spied(request):
            self.asked.append(request.full_url)
            return opened(request)

        patch.setattr(torch.hub, "urlopen", spied)


def ask_by_name(name: str = "teacher", network: str = SHUFFLENET, **pretrained: str) -> None:
    """Params whose model `name` begins from weights by their name, in the working folder."""
    values = tiny_values()
    model = values["teacher"] if name == "teacher" else values["generations"][name]
    model |= {"network": network, "width": 1.0, "pretrained": pretrained}
    write_params(Path("."), values)
