"""A linear probe (Alain and Bengio 2016, arXiv:1610.01644): heads trained on what a frozen backbone
says of the images (`features: frozen`). It is asked once for each image, in evaluation mode,
without augmentation; with `flip` once more for the mirrored one, and every step takes either.

The loop, the learner and the streams are those of any training: features take the place of images.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.core import machine
from pipeline.data.batches import Stream
from pipeline.networks import checkpoint
from pipeline.networks.classifier import Classifier
from pipeline.networks.evaluate import at_a_time
from pipeline.running.progress import progress
from pipeline.training.fit import Autocast, Trainings, evaluation
from pipeline.training.learner import Learner
from pipeline.training.loop import Row
from pipeline.training.recipe import Training


class Trained(NamedTuple):
    """What a probe leaves, as a learner has it."""

    weights: Classifier  # the whole network
    autocast: Autocast


class Probe:
    """Trains the heads of a network on its features.

    Args:
        name: of the model, for the progress bar.
        network: on its device; its heads are trained, its backbone is as it was.
        training: the recipe.
        streams: of images; what is asked of the backbone, as this begins.
        autocast: makes the context of a forward pass of the whole network.

    Attributes:
        heads: them alone, on features (N, F, 1, 1).
        images_seen: images that went through the backbone.
    """

    def __init__(
        self,
        name: str,
        network: Classifier,
        training: Training,
        streams: Mapping[str, Stream],
        autocast: Autocast,
    ):
        self._name, self._network, self._autocast = name, network.eval(), autocast
        self._training = training
        self.images_seen = 0
        self._streams = {part: self._of_features(stream) for part, stream in streams.items()}
        self.heads = heads_alone(network)

    def _of_features(self, stream: Stream) -> Stream:
        """The same samples with features (M, V, F, 1, 1) of V = 1 or 2 views of each image."""
        views = [self.features(stream.images)]
        views += [self.features(stream.images, mirrored)] if self._training.flip else []
        self.images_seen += len(views) * len(stream.images)
        return replace(stream, images=torch.stack(views, 1))

    @torch.no_grad()  # and no inference mode: the heads' gradient needs them
    def features(
        self, images: Tensor | np.ndarray, change: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Tensor:
        """uint8 (N, C, H, W), perhaps memory-mapped -> float32 (N, F, 1, 1), on the device.

        Args:
            change: of the images, before.
        """
        device, rows = self._network.mean.device, []
        pixels = max(self._network.image_size**2, images.shape[2] * images.shape[3])
        num = at_a_time(pixels, device)
        with progress(len(images), 0, f"{self._name}: features", "image") as bar:
            for start in range(0, len(images), num):
                batch = images[start : start + num]
                batch = torch.as_tensor(np.array(batch) if isinstance(batch, np.ndarray) else batch)
                with self._autocast():
                    rows.append(self._network(change(batch.to(device))).features.float())
                bar.update(len(batch))
        return torch.cat(rows)[:, :, None, None]

    def fit(self, trainings: Trainings, card: dict, **options) -> tuple[Trained, list[Row]]:
        """Train the heads, or go on where that was interrupted; returns the network with what
        ships of them, and the curve.

        Args:
            card: of the model.
            options: of the learner: weights of losses, columns.
        """
        run = trainings.run
        evaluate = evaluation(card, run.device, self.features)
        autocast = machine.configure(run.machine, self.heads, 1)
        learner = Learner(self.heads, self._training, autocast=autocast, **options)
        history = trainings.fit(learner, self._streams, evaluate)
        self._network.heads.load_state_dict(learner.weights.heads.state_dict())
        machine.set_threads(run.machine, self._network, checkpoint.pixels(card))
        return Trained(self._network, self._autocast), history


def heads_alone(network: Classifier) -> Classifier:
    """A classifier with the very heads of another one, for its features (N, F, 1, 1)."""
    alone = Classifier(nn.Flatten(), {}, [0.0], [1.0], network.dropout)
    alone.heads = network.heads
    return alone.to(network.mean.device)


def mirrored(images: Tensor) -> Tensor:
    """Left and right exchanged."""
    return images.flip(-1)
