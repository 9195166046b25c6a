"""The weights that torchvision publishes, where torch's own cache of downloads keeps them."""

import re
import sys
from pathlib import Path

import torch

from pipeline.networks.published import Published
from pipeline.networks.torchvision import PREFIX, exact_side

# the first digits of a file's sha256 stand in its name
DIGITS = re.compile(r"-([0-9a-f]{8,})\.pth$")


def published(network: str) -> dict[str, Published]:
    """The weights for one of torchvision's networks (`torchvision/<network>`) by their names;
    `DEFAULT` is another name for the best of them. Those for images of another size than the
    network takes are left out."""
    from torchvision.models import get_model_weights  # takes a second, see `torchvision.build`

    model = network.removeprefix(PREFIX)
    members, side = get_model_weights(model).__members__.items(), exact_side(model)
    fitting = [(n, w) for n, w in members if not side or w.meta["min_size"] == (side, side)]
    return {name: _published(weights) for name, weights in fitting}


def _published(weights) -> Published:
    file, seen = weights.url.rpartition("/")[2], weights.transforms()
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    return Published(
        name=weights.name,
        file=file,
        digits=DIGITS.search(file)[1],
        normalisation={"mean": list(seen.mean), "std": list(seen.std)},
        folder=str(path.parent),
        cached=lambda: path if path.is_file() else None,
        fetch=lambda: _fetch(weights.url, path),
    )


def _fetch(url: str, path: Path) -> Path:
    """The file, downloaded: whole, and of the sha256 that its name begins with, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digits, shown = DIGITS.search(path.name)[1], sys.stderr.isatty()
    torch.hub.download_url_to_file(url, str(path), digits, progress=shown)
    return path
