"""Images as addresses that hold their own pixels."""

import base64
import io

import numpy as np
from PIL import Image

LARGEST = 96  # px of a side; larger images are averaged down


def png_uri(picture: np.ndarray) -> str:
    """uint8 (H, W) or (H, W, 3 or 4) as a PNG in an address."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def thumbnail(image: np.ndarray) -> str:
    """uint8 (C, H, W) as a PNG in an address, its sides at most `LARGEST`; of other than 1 or 3
    channels, the first three or their mean."""
    if len(image) >= 3:
        picture = np.ascontiguousarray(image[:3].transpose(1, 2, 0))
    else:
        picture = np.rint(image.mean(0)).astype(np.uint8)
    height, width = picture.shape[:2]
    if max(height, width) > LARGEST:
        scale = LARGEST / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    return png_uri(picture)
