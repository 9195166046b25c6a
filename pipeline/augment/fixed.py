"""RandAugment in a fixed shape: every image goes through every family and keeps what its kind says.

No shape and no branch depends on data and nothing is read back, so a GPU runs it without a
synchronisation, and it can be compiled or captured in a graph. A CPU prefers `rows`.
"""

import numpy as np
import torch
from torch import Tensor

from pipeline.augment import pixels
from pipeline.augment.scale import NUM_BINS, NUM_KINDS, OP, WARPS, kind_of, parameters
from pipeline.augment.warp import gather, index_map


class Tables:
    """What depends on kinds and image size alone, kept on the device.

    Args: height and width in pixels; the bins (0..30) that can be drawn; the device.
    """

    def __init__(self, height: int, width: int, bins: tuple[int, ...], device: torch.device):
        maps, map_of = [np.arange(height * width)], np.zeros(NUM_KINDS, dtype=np.int64)
        for kind in sorted(
            {kind_of(OP[name], s * b) for name in WARPS for b in bins for s in (-1, 1)}
        ):
            map_of[kind] = len(maps)
            maps.append(index_map(kind, height, width))
        self.maps = torch.from_numpy(np.stack(maps)).to(device, torch.int32)  # (R, H * W)
        self.map_of = torch.from_numpy(map_of).to(device)
        self.parameters = {
            name: torch.from_numpy(table).to(device) for name, table in parameters().items()
        }


def apply_kinds(images: Tensor, kinds: Tensor, tables: Tables) -> Tensor:
    """Apply kinds (N, n) in order to uint8 images (N, C, H, W) of the tables' size; like them."""
    for kind in kinds.unbind(1):
        warped = gather(images, tables.maps[tables.map_of[kind]][:, None].long())
        images = _repaint(warped, kind, tables)
    return images


def _repaint(images: Tensor, kind: Tensor, tables: Tables) -> Tensor:
    p = {name: table[kind].view(-1, 1, 1, 1) for name, table in tables.parameters.items()}
    op = (kind // NUM_BINS).view(-1, 1, 1, 1)
    values = images.float()
    painted = {
        "Sharpness": pixels.sharpen(values.clone(), p["rest"]),
        "Posterize": pixels.posterize(images, p["mask"]),
        "Solarize": pixels.solarize(images, p["threshold"]),
        "AutoContrast": pixels.autocontrast(images),
        "Equalize": pixels.equalize(images),
    }
    grey = pixels.grey(values)
    others = {
        "Brightness": torch.zeros_like(grey),
        "Color": grey,
        "Contrast": grey.mean((1, 2, 3), keepdim=True),
    }
    if images.shape[1] == 1:  # its own grey: blending would only round
        del others["Color"]
    blended = {
        name: pixels.blend(values.clone(), other, p["weight"], p["rest"])
        for name, other in others.items()
    }
    for name, result in (painted | blended).items():
        images = torch.where(op == OP[name], result, images)
    return images
