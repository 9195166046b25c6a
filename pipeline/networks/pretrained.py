"""Weights to begin from: a file on this machine, which must be the very one that params name, or
those that a library publishes, by their name there.

`.safetensors`, or `.pth` and `.pt` as torch writes them, with the library's names of weights or our
own. Nothing but tensors is read from them: no code in a file is ever run.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.core import files, machine
from pipeline.core.block import Block, Fault
from pipeline.core.errors import UserError
from pipeline.networks import by_name

SUFFIXES = (".safetensors", ".pth", ".pt")
SHOWN = 3  # of the weights that do not fit
# torchvision's own densenet files are older than its names
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")


class Pretrained(Block):
    """Weights to begin from: a library's, by name, or a file."""

    weights: str = Field(
        "",
        min_length=1,
        description="the library's name of weights for a network of `torchvision/`, such as "
        "`IMAGENET1K_V2`, or `timm/`; `DEFAULT` = its own choice; downloaded once",
    )
    file: str = Field(
        "",
        min_length=1,
        description="in the place of `weights`: `.safetensors`, or torch's `.pth` or `.pt`, in "
        "this folder",
    )
    sha256: str = Field(
        "",
        pattern="^[0-9a-f]{64}$",
        description="of the file; `sha256sum` prints it; required with `file`, and with weights "
        "for `timm/`",
    )

    def faults(self) -> Iterator[Fault]:
        """A file and a name, or neither; a file that could be any."""
        if self.file and self.weights:
            yield Fault("weights", "a name and a file are given", "leave out `weights` or `file`")
        elif not self.file and not self.weights:
            what = "'file' is missing, or `weights` in its place"
            yield Fault("file", what, "name a file and its sha256, or a library's weights")
        elif self.file and not self.sha256:
            yield Fault("sha256", "'sha256' is missing", "add it: `sha256sum` prints it")


class Given(NamedTuple):
    """Weights that were read."""

    key: str  # of params.yaml, for messages
    file: str
    sha256: str
    tensors: dict[str, Tensor]
    weights: str = ""  # the library's name of them
    normalisation: dict[str, list[float]] | None = None  # that the library says


def faults(key: str, options: Pretrained, network: str) -> list[UserError]:
    """Check a file, without reading its tensors, or a name, without downloading anything.

    Args:
        key: of params.yaml that holds the options, for messages.
        network: that begins from them.

    Returns:
        an error for a file that is missing, of an unknown kind, or another one; for a name that
        the network's library does not have.
    """
    if options.weights:
        return by_name.faults(key, options.weights, options.sha256, network)
    path = _path(options)
    if path.suffix not in SUFFIXES:
        what = f"'{options.file}' is of an unknown kind"
        return [UserError(f"{key}.file", what, f"name a file in {', '.join(SUFFIXES)}")]
    if not path.is_file():
        fix = "put the file there, or correct its name"
        return [UserError(f"{key}.file", f"no such file: '{options.file}'", fix)]
    sha256 = files.sha256(path)
    if sha256 != options.sha256:
        what = f"'{options.file}' is another file: its sha256 is {sha256}"
        return [UserError(f"{key}.sha256", what, "put that one there, or restore the file")]
    return []


def read(key: str, options: Pretrained | None, network: str) -> Given | None:
    """The weights that a model begins from; None if it begins at random.

    Raises:
        UserError: see `faults`; or the file cannot be had or read, or is no state dict.
    """
    if options is None:
        return None
    errors = faults(key, options, network)
    if errors:
        raise UserError.all(errors)
    if not options.weights:
        tensors = _tensors(f"{key}.file", options.file, _path(options))
        seen = by_name.normalisation(network, options.sha256)
        return Given(key, options.file, options.sha256, tensors, normalisation=seen)
    known, path = by_name.fetched(key, options.weights, options.sha256, network)
    tensors = _tensors(f"{key}.weights", known.file, path)
    return Given(key, known.file, files.sha256(path), tensors, known.name, known.normalisation)


def noted(card: dict, given: Given | None) -> dict:
    """The card of a model that begins from such weights: their sha256 in `network.pretrained`,
    their name in `network.weights` if they were asked for by one, and the normalisation that they
    were learnt with: that of a model of our own stands in its file, a library says that of its own
    (of three channels for grey images too, which are repeated)."""
    if given is None:
        return card
    begun = {"pretrained": given.sha256} | ({"weights": given.weights} if given.weights else {})
    card = {**card, "network": {**card["network"], **begun}}
    tensors, channels = given.tensors, card["image_shape"][0]
    if {"mean", "std"} <= tensors.keys():
        normalisation = {name: tensors[name].flatten().tolist() for name in ("mean", "std")}
    elif given.normalisation and channels in (1, 3):
        normalisation = given.normalisation
    else:
        return card
    return {**card, "normalisation": normalisation}


def fill(backbone: nn.Module, given: Given | None) -> None:
    """Put the weights in: all of the backbone's, and none but those and the classifier's.

    Raises:
        UserError: some are missing, of another shape or unknown; names the first few.
    """
    if given is None:
        return
    ours = backbone.state_dict()
    theirs = _of_backbone(given.tensors, getattr(backbone, "stripped", None))
    misfits = _misfits(ours, theirs)
    if misfits:
        shown = ", ".join(misfits[:SHOWN]) + (", ..." if len(misfits) > SHOWN else "")
        what = f"of the weights in '{given.file}' {len(misfits)} do not fit: {shown}"
        raise UserError(given.key, what, "name the file of this very network, or its network")
    backbone.load_state_dict(ours | theirs)


def _path(options: Pretrained) -> Path:
    # from the project's own folder: a temporary one of DVC's holds no files that git ignores
    return machine.root() / options.file


def _tensors(key: str, file: str, path: Path) -> dict[str, Tensor]:
    fix = "save the network's `state_dict()` alone"
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        what = f"'{file}' holds other things than tensors, which could run code, or is broken"
        raise UserError(key, what, fix) from None
    except Exception as error:  # a broken file can fail in any way
        what = f"'{file}' cannot be read ({(str(error) or repr(error)).splitlines()[0]})"
        raise UserError(key, what, fix) from None
    pairs = tensors.items() if isinstance(tensors, dict) else ()
    if {(type(name), isinstance(value, torch.Tensor)) for name, value in pairs} != {(str, True)}:
        raise UserError(key, f"'{file}' is no state dict (names of tensors)", fix)
    return tensors


def _of_backbone(
    tensors: dict[str, Tensor], classifier: str | tuple[str, ...] | None
) -> dict[str, Tensor]:
    """The tensors under the backbone's own names, without the layers that were its classifier."""
    own = "backbone."
    ours = {k.removeprefix(own): v for k, v in tensors.items() if k.startswith(own)}
    named = ours or {OLD_DENSENET.sub(r"\1\2", k): v for k, v in tensors.items()}
    gone = (classifier,) if isinstance(classifier, str) else classifier or ()
    return {k: v for k, v in named.items() if not k.startswith(tuple(f"{name}." for name in gone))}


def _misfits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    misfits = []
    for name, tensor in ours.items():
        if name not in theirs:
            # a counter that nothing reads, and that older files have not
            misfits += [] if name.endswith("num_batches_tracked") else [f"{name} (missing)"]
        elif theirs[name].shape != tensor.shape:
            sizes = ["x".join(map(str, t.shape)) or "one" for t in (theirs[name], tensor)]
            misfits.append(f"{name} ({sizes[0]}, needs {sizes[1]})")
    return misfits + [f"{name} (unknown)" for name in theirs if name not in ours]
