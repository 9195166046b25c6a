"""What belongs to the machine and not to the experiment: device, threads, number format.

Read from an optional, git-ignored `machine.yaml` next to params.yaml, and from environment
variables (`LINEAGE_DEVICE`, `LINEAGE_THREADS`, `LINEAGE_DTYPE`, ...), which win. None of it is a
parameter of a DVC stage: another machine must not retrain.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import UserError, nearest
from pipeline.core.yaml_file import read

# Products of a network's weights and an image's pixels. From the first one on bf16 saves more than
# its casts cost (a step is 0.95 to 1.08 times as quick below it, 1.2 to 2.4 times above), and a
# second thread makes a step 1.1 to 1.7 times as quick, but 0.2 to 0.7 times where another process
# wants its core. From the second one on all cores are worth that.
MEDIUM = 5_000_000
LARGE = 50_000_000


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
    capture: bool = Field(
        False, description="replay training steps as CUDA graphs, where the recipe allows it"
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

    All but toy networks get bf16 autocast where the hardware has fast bf16, channels_last there and
    on a CPU, and two threads where that leaves a core to others; large ones get all cores. What is
    chosen depends on nothing but the hardware, the network and the size of its images: the same run
    gives the same bytes again.

    Args:
        pixels: of a channel of the images that the network sees.

    Returns:
        what makes the context of a forward pass.
    """
    import torch

    device = next(network.parameters()).device
    work = set_threads(machine, network, pixels)
    wanted = machine.dtype == "bfloat16"
    if machine.dtype == "auto":
        wanted = work >= MEDIUM and _fast_bf16(device)
    wanted = wanted and (device.type != "cpu" or pixels >= _fewest_pixels(network))
    if wanted or (device.type == "cpu" and work >= MEDIUM):
        network.to(memory_format=torch.channels_last)
    if not wanted:
        return nullcontext
    return partial(torch.autocast, device.type, torch.bfloat16)


def set_threads(machine: Machine, network, pixels: int) -> int:
    """Set the threads that are best for a network; returns its weights times the pixels."""
    import torch

    work = pixels * sum(weight.numel() for weight in network.parameters())
    torch.set_num_threads(machine.threads or _threads(work))
    return work


@contextmanager
def full_precision() -> Iterator[None]:
    """The context of a forward pass whose answers are measured, calibrated or served: float32
    throughout, without the TF32 that a GPU's convolutions else have."""
    import torch

    cudnn = torch.backends.cudnn
    kept = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
    with cudnn.flags(**kept, allow_tf32=False):
        yield


def _threads(work: int) -> int:
    if work >= LARGE:
        return cores()
    return 2 if work >= MEDIUM and cores() > 2 else 1


def _fewest_pixels(network) -> int:
    """Of images that bf16 can be trained on: a strided convolution over a single pixel is left an
    uninitialised gradient by torch 2.15 on a CPU, and torchvision's networks halve five times, and
    timm's."""
    parts = {type(part).__module__.split(".")[0] for part in network.children()}
    return 32**2 if parts & {"torchvision", "timm"} else 3**2


def _fast_bf16(device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def cores() -> int:
    """Cores this process may use; not every system can tell."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
