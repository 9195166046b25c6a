"""What a frozen teacher says of the images of a step, asked once for all who learn from it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from pipeline.core.machine import Machine
from pipeline.data.batches import Part, Stream
from pipeline.networks.classifier import Classifier, Output
from pipeline.networks.evaluate import at_a_time
from pipeline.networks.feature_maps import FeatureMaps

PLAIN = "plain/logits"  # among the maps: of the images as they are
Transform = Callable[[Tensor], Tensor]  # images (N, C, H, W) -> (N, C, H, W)


class Teaching:
    """A teacher, frozen, in evaluation mode: no gradient reaches it and no statistic of it moves.

    Args:
        network: the teacher.
        transforms: that it answers each image under, besides as it is; the mean of its
            probabilities counts. Features and inner layers are of the image as it is.
        plain: whether the answer to the image as it is counts in that mean.
    """

    def __init__(
        self, network: Classifier, transforms: Sequence[Transform] = (), plain: bool = True
    ):
        self.network = network.eval().requires_grad_(False)
        self.transforms = transforms
        self.plain = plain
        self._maps: list[FeatureMaps] = []
        self._layers: set[str] = set()
        self._recorded: dict[str, Output] = {}
        self._batch: Mapping[str, Part] | None = None
        self._answer: Output | None = None

    def want(self, layers: Iterable[str]) -> None:
        """Have the outputs of these inner layers in all answers from now on.

        Raises:
            UserError: a layer that the teacher does not have.
        """
        if new := set(layers) - self._layers:
            self._maps.append(FeatureMaps(self.network, sorted(new)))
            self._layers |= new

    def __call__(self, batch: Mapping[str, Part]) -> Output:
        """The teacher's answers to all images of a batch, one part after another."""
        if batch is not self._batch:
            self._batch, self._answer = batch, self._of(batch)
        return self._answer

    def _of(self, batch: Mapping[str, Part]) -> Output:
        if batch.keys() <= self._recorded.keys():
            return joined([at(self._recorded[name], part.rows) for name, part in batch.items()])
        return self._asked(torch.cat([part.images for part in batch.values()]))

    @torch.no_grad()
    def _asked(self, images: Tensor) -> Output:
        maps = dict[str, Tensor]()
        for place, transform in enumerate(self.transforms):
            said = self.network(transform(images))
            maps |= {f"{place}/{name}": values for name, values in said.maps.items()}
            maps[f"{place}/logits"] = said.logits
        output = self.network(images)
        for recorder in self._maps:
            maps |= recorder.take()
        maps = {**output.maps, **maps}
        if not self.transforms:
            return output._replace(maps=maps)
        output = output._replace(maps=maps | {PLAIN: output.logits})
        return output._replace(logits=self.log_probs(output))

    @property
    def passes(self) -> int:
        """Times that an image goes through the teacher."""
        return 1 + len(self.transforms)

    def log_probs(self, output: Output, temperature: float = 1.0) -> Tensor:
        """log p^T of what it said, over transforms the mean of p^T: (N, C)."""
        if not self.transforms:
            return self.network.log_probs(output, temperature)
        answers = [output._replace(logits=output.maps[PLAIN])] if self.plain else []
        for place in range(len(self.transforms)):
            start = f"{place}/"
            maps = {n.removeprefix(start): v for n, v in output.maps.items() if n.startswith(start)}
            answers.append(Output(maps.pop("logits"), output.features, maps))
        said = torch.stack([self.network.log_probs(answer, temperature) for answer in answers])
        return said.logsumexp(0) - math.log(len(answers))

    def record(self, streams: Mapping[str, Stream], machine: Machine) -> int:
        """Ask once for each image of streams whose view changes none, and look the answers up at
        every step; nothing is recorded that does not fit beside the images.

        Returns:
            images that went through the teacher; 0 where nothing is recorded.
        """
        recorded, room = {}, machine.resident_gigabytes * 1e9
        for name, stream in streams.items():
            pieces = []
            step = at_a_time(stream.images.shape[2] * stream.images.shape[3], stream.place)
            for start in range(0, len(stream), step):
                pieces.append(self._asked(stream.samples(start, start + step)))
                room -= sum(t.nbytes for t in tensors(pieces[-1]))
                if room < 0:
                    return 0
            recorded[name] = joined(pieces)
        self._recorded = recorded
        return self.passes * sum(map(len, streams.values()))


def tensors(output: Output) -> list[Tensor]:
    """All that an output holds."""
    return [output.logits, output.features, *output.maps.values()]


def at(output: Output, rows: Tensor) -> Output:
    """Some rows of an output."""
    maps = {name: values[rows] for name, values in output.maps.items()}
    return Output(output.logits[rows], output.features[rows], maps)


def joined(outputs: list[Output]) -> Output:
    """Outputs for several sets of images, one after another."""
    maps = {name: torch.cat([o.maps[name] for o in outputs]) for name in outputs[0].maps}
    logits, features, _ = zip(*outputs)
    return Output(torch.cat(logits), torch.cat(features), maps)
