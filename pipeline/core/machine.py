"""What belongs to the machine and not to the experiment: device, threads, number format.

Read from an optional, git-ignored `machine.yaml` next to params.yaml, and from environment
variables (`LINEAGE_DEVICE`, `LINEAGE_THREADS`, `LINEAGE_DTYPE`, ...), which win. None of it is a
parameter of a DVC stage: another machine must not retrain.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import UserError, nearest
from pipeline.core.yaml_file import read

# Below this product of weights and pixels a second thread and the casts to bf16 cost more than
# they save.
SMALL_NETWORK = 50_000_000


class Machine(BaseModel):
    """Settings of this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    threads: int = Field(0, ge=0, description="CPU threads; 0 = as many as help")
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    deterministic: bool = Field(False, description="bit-exact on a GPU, at some cost")
    resident_gigabytes: float = Field(
        4.0, ge=0, description="larger sets of images stay on disk and are read batch by batch"
    )
    compile: bool = Field(
        False, description="torch.compile the networks that train: for long runs on a GPU"
    )
    checkpoint_seconds: float = Field(20.0, gt=0, description="between two resume checkpoints")


def root() -> Path:
    """The project's own folder, also from inside a temporary `dvc exp run --temp`."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def load() -> Machine:
    """The settings of this machine.

    Raises:
        UserError: an unknown key or a value out of range.
    """
    values, origin = {}, {}
    path = root() / "machine.yaml"
    if path.is_file():
        values = read(path).values
        origin = dict.fromkeys(values, str(path))
    for name in Machine.model_fields:
        variable = f"LINEAGE_{name.upper()}"
        if variable in os.environ:
            values[name], origin[name] = os.environ[variable], variable
    try:
        return Machine.model_validate(values)
    except ValidationError as error:
        raise UserError.all(_readable(fault, origin) for fault in error.errors()) from None


def _readable(fault: dict, origin: dict[str, str]) -> UserError:
    key = str(fault["loc"][0])
    where = f"{origin[key]} ({key})"
    if fault["type"] == "extra_forbidden":
        return UserError(where, f"unknown key '{key}'", nearest(key, Machine.model_fields))
    return UserError(where, f"{fault['input']!r} is not allowed ({fault['msg']})", "correct it")


def device(machine: Machine):
    """The torch device to work on; also sets determinism.

    Raises:
        UserError: the device asked for is not there.
    """
    import torch

    if machine.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    name = machine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        what = f"'{name}' cannot be used ({str(error).splitlines()[0]})"
        raise UserError("device", what, "use auto") from None
    return torch.device(name)


def configure(machine: Machine, network, pixels: int) -> Callable[[], AbstractContextManager]:
    """Set threads, memory layout and number format for a network on its device.

    Large networks get all threads, bf16 autocast and channels_last where the hardware has fast
    bf16; small ones one thread and float32.

    Args:
        pixels: of a channel of the images that the network sees.

    Returns:
        what makes the context of a forward pass.
    """
    import torch

    device = next(network.parameters()).device
    weights = sum(weight.numel() for weight in network.parameters())
    small = weights * pixels < SMALL_NETWORK
    torch.set_num_threads(machine.threads or (1 if small else _cores()))
    wanted = machine.dtype == "bfloat16"
    if machine.dtype == "auto":
        wanted = not small and _fast_bf16(device)
    if device.type == "cpu" and pixels < 32**2 and _of_torchvision(network):
        wanted = False
    if not wanted:
        return nullcontext
    network.to(memory_format=torch.channels_last)
    return partial(torch.autocast, device.type, torch.bfloat16)


def _of_torchvision(network) -> bool:
    # From images of 16x16 pixels down their maps shrink to a pixel too early. For a strided bf16
    # convolution there, torch 2.15 leaves the CPU's gradient uninitialised.
    return type(network.backbone).__module__.startswith("torchvision")


def _fast_bf16(device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def _cores() -> int:
    """Cores this process may use; not every system can tell."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
