"""Files of weights, and models that begin from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import tiny_values, write_params
from jobs import job
from safetensors.torch import save_file
from torchvision.models import get_model

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.students import learn

SHUFFLENET = "torchvision/shufflenet_v2_x0_5"
ZEROS = "0" * 64


def state(name: str = "shufflenet_v2_x0_5", seed: int = 3) -> dict[str, torch.Tensor]:
    """What torchvision's own file of a network holds."""
    torch.manual_seed(seed)
    return get_model(name, weights=None).state_dict()


def ask(sha256: str | None, file="weights/w.pth", name="teacher", **keys) -> None:
    """Params whose model `name` begins from a file, in the working folder."""
    values = tiny_values()
    baseline = {"b1": {"network": "small_cnn", "width": 0.25}}
    values |= {"baselines": baseline}
    models = {"teacher": values["teacher"], **values["generations"], **baseline}
    model = models[name]
    sha256 = files.sha256(file) if sha256 is None else sha256
    model |= {"pretrained": {"file": file, "sha256": sha256}} | keys
    write_params(Path("."), values)


def put(content: object, file="weights/w.pth", name="teacher", **keys) -> None:
    """A file of weights, and params that name it."""
    Path("weights").mkdir(exist_ok=True)
    save_file(content, file) if file.endswith("safetensors") else torch.save(content, file)
    ask(None, file, name, **{"network": SHUFFLENET, "width": 1.0} | keys)


def begin(name: str = "teacher"):
    """The network of that model before its first step, and its card."""
    made = job(name)
    return learn.begin(made, learn.describe(made, unlabelled=True))


def line(call) -> str:
    """The one line of an error."""
    with pytest.raises(UserError) as caught:
        call()
    (text,) = caught.value.lines
    assert "\n" not in text and "; fix: " in text
    return text


def holds(backbone, tensors: dict[str, torch.Tensor], but: str = "fc.") -> bool:
    """Whether a backbone has these tensors, and no others."""
    ours = backbone.state_dict()
    same = all(torch.equal(ours[k], v) for k, v in tensors.items() if not k.startswith(but))
    return same and len(ours) == sum(not k.startswith(but) for k in tensors)
