"""What all views share: host-side draws in which a row depends on its position alone."""

import numpy as np


class View:
    """A random change of images whose randomness is one row of uniform numbers per image.

    Row i of a draw is the same whatever the number of rows, so neither the batch size nor a slice of the batch
    (one rank's share, say) changes the view of the image at a position.
    """

    width: int  # uniform numbers per image

    def read(self, uniform: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters, by name and with first axis num, from uniform numbers in [0, 1), (num, width)."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, num: int) -> dict[str, np.ndarray]:
        """Parameters for num images: plain arrays that can be sliced by position along their first axis."""
        return self.read(rng.random((num, self.width)))
