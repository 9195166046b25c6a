"""A learner owns a network and how one update of it is made."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from math import prod
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.data.batches import Part, in_one_type
from pipeline.networks.batch_norm import BatchCounts, check_one_image
from pipeline.networks.classifier import Classifier, Output
from pipeline.networks.feature_maps import FeatureMaps
from pipeline.networks.frozen import freeze
from pipeline.training.average import Average
from pipeline.training.method import Method
from pipeline.training.optimizer import learning_rate, make_optimizer, set_rate
from pipeline.training.recipe import Training

FEW_STEPS = 100  # after fewer no model is judged by its answers


class Learner:
    """Trains a classifier on the weighted sum of the cross-entropies of a batch's parts.

    One joint forward pass over all parts (or one for each, `batch_norm: separate`); a part's loss
    is the sum of its weighted samples over its size; a part without targets has none, unless a
    method gives it one. With the parts `labelled` and `pseudo` this is the noisy student of Xie et
    al. 2020 (arXiv:1911.04252): L = H_labelled + unlabelled_weight * H_pseudo.

    Args:
        network: the classifier to train, on its device.
        training: the recipe.
        loss_weights: weight of each part's loss, by name; parts not named weigh 1. Methods may
            multiply them all (`ce_weight`).
        autocast: makes the context of a forward pass.
        methods: add-ons by name, called in this order.
        fixed: names of heads that are not trained.
    """

    # what helps against a training that diverges
    remedy = "lower training.learning_rate, set training.clip_norm, or lengthen warmup_steps"

    def __init__(
        self,
        network: Classifier,
        training: Training,
        loss_weights: Mapping[str, float] | None = None,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
        methods: Mapping[str, Method] = MappingProxyType({}),
        fixed: Collection[str] = (),
    ):
        self.network = network
        self.training = training
        self.loss_weights = dict(loss_weights or {})
        self.ce_weight = prod(method.ce_weight for method in methods.values())
        self.autocast = autocast
        self.methods = dict(methods)
        self.modules = {n: m.module for n, m in methods.items() if m.module is not None}
        asked = [method.trains for method in methods.values() if method.trains]
        self.frozen = freeze(network, asked[0] if asked else training.train, fixed)
        self.optimizer = make_optimizer(self.trained_weights(), training, self._spared())
        self.average = Average(network) if training.ema else None
        self.ema = self.average.network if self.average else None
        self.counts = BatchCounts(network)
        # after the copy, which would have these hooks as well
        self.maps = FeatureMaps(network, {x for m in methods.values() for x in m.layers})
        self.num_steps = 0
        self.replayed = False  # whether who calls `step` sets the pace and counts, see `capture`

    @property
    def weights(self) -> Classifier:
        """The network that is evaluated, teaches and ships: the averaged one if there is one."""
        return self.ema if self.ema is not None else self.network

    def trained_weights(self) -> Iterator[Tensor]:
        """The network's, then those of methods' own."""
        yield from self.network.parameters()
        for module in self.modules.values():
            yield from module.parameters()

    def all_weights(self) -> Iterator[Tensor]:
        """Those of every network that a step changes."""
        yield from self.trained_weights()

    def _spared(self) -> Iterator[Tensor]:
        for name, weight in self.network.named_parameters():
            if not all(method.decays(name) for method in self.methods.values()):
                yield weight

    def passes(self, sizes: Mapping[str, int]) -> list[int]:
        """The images in each forward pass of a step, of whatever network.

        Args:
            sizes: images of each part of a batch.
        """
        for method in self.methods.values():
            sizes = {**sizes, **method.adds}
        apart = {name for method in self.methods.values() for name in method.apart}
        parts = [num for name, num in sizes.items() if name not in apart]
        own = [sum(parts)] if self.training.batch_norm == "joint" else parts
        others = [sum(parts)] * sum(method.passes for method in self.methods.values())
        return own + [sizes[name] for name in apart] + others

    def images_seen(self, sizes: Mapping[str, int]) -> int:
        """Images that go through a network in the whole training, every pass counted."""
        return self.training.steps * sum(self.passes(sizes))

    def check_passes(self, sizes: Mapping[str, int], image: Tensor) -> None:
        """Refuse a pass over one image that a network cannot train on.

        Args:
            sizes: images of each part of a batch.
            image: any, (1, C, H, W), on the device.

        Raises:
            UserError: see `check_one_image`.
        """
        if min(self.passes(sizes)) == 1:
            self.train_mode()
            check_one_image(self.network, image)

    def step(self, batch: dict[str, Part]) -> dict[str, Tensor]:
        """One update. Returns the losses, detached: `loss`, each part's and method's by name, and
        what methods note."""
        for method in self.methods.values():
            method.step = self.num_steps
            batch = method.batch(batch)
        output, losses = self.losses(batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.backward(losses["loss"])
        for method in self.methods.values():
            self._add_grads(method.grads(self.network))
        self.apply()
        for method in self.methods.values():
            method.after_step(self.network, batch, output)
        for method in self.methods.values():
            losses |= method.notes
        return {name: value.detach() for name, value in losses.items()}

    def losses(self, batch: dict[str, Part]) -> tuple[Output, dict[str, Tensor]]:
        """The joint output, and `loss` (the weighted sum) with its named parts."""
        self.train_mode()
        batch = in_one_type(batch)
        with self.autocast():  # one context, so that a weight is cast once for all passes
            output = self.forward([part.images for part in batch.values()])
            losses = self._cross_entropies(batch, output)
            total = sum(self._weight(name) * loss for name, loss in losses.items())
            for method in self.methods.values():
                added = method.losses(self.network, batch, output)
                total = total + sum(added.values())
                losses |= added
        return output, {"loss": total, **losses}

    def _weight(self, name: str) -> float:
        return self.loss_weights.get(name, 1.0) * self.ce_weight

    def _cross_entropies(self, batch: dict[str, Part], output: Output) -> dict[str, Tensor]:
        losses = {}
        for (name, part), rows in zip(batch.items(), places(batch).values()):
            if part.targets is not None:
                logits = full(output.logits[rows, part.columns])
                smoothing = 0.0 if part.soft else self.training.label_smoothing
                losses[name] = cross_entropy(logits, part.targets, part.weights, smoothing)
        return losses

    def forward(self, images: list[Tensor]) -> Output:
        """The network on several sets of images (n, C, H, W): their outputs, one after another."""
        joint = self.training.batch_norm == "joint"
        outputs = [self._pass(some) for some in ([torch.cat(images)] if joint else images)]
        if len(outputs) == 1:
            return outputs[0]
        maps = {name: torch.cat([o.maps[name] for o in outputs]) for name in outputs[0].maps}
        logits, features, _ = zip(*outputs)
        return Output(torch.cat(logits), torch.cat(features), maps)

    def _pass(self, images: Tensor) -> Output:
        with self.autocast(), self.counts.together():
            output = self.network(images)
        return output._replace(maps=self.maps.take())

    def train_mode(self) -> None:
        """Dropout on, BatchNorm on this batch's statistics; but not in frozen parts."""
        self.network.train()
        for part in self.frozen:
            part.eval()

    def _add_grads(self, grads: Mapping[str, Tensor]) -> None:
        weights = dict(self.network.named_parameters()) if grads else {}
        for name, grad in grads.items():
            weights[name].grad = grad if weights[name].grad is None else weights[name].grad + grad

    def backward(self, loss: Tensor) -> None:
        """Give the weights their gradients."""
        loss.backward()

    def apply(self) -> None:
        """Clip, step the optimiser at this step's rate, move the average."""
        if self.training.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.trained_weights(), self.training.clip_norm)
        self.advance()

    def advance(self) -> None:
        """Step the optimiser at this step's rate by the gradients as they are; move the average."""
        if not self.replayed:
            self.set_pace()
            self.num_steps += 1
        self.optimizer.step()
        if self.average:
            self.average.move()

    def set_pace(self) -> None:
        """Give the coming update's learning rate to the optimiser, and its share to the average."""
        set_rate(self.optimizer, self.rate)
        if self.average:
            self.average.pace(self.training.ema, self.age + 1)

    @property
    def rate(self) -> float:
        """The learning rate of this step."""
        return self.rate_at(self.num_steps)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step of the training."""
        return learning_rate(self.training, step)

    @property
    def age(self) -> int:
        """Updates made so far: what the average goes by."""
        return self.num_steps

    @property
    def can_be_judged(self) -> bool:
        """Whether half of the training is done, and enough to have come to something."""
        return self.num_steps >= max(self.training.steps / 2, FEW_STEPS)

    def state(self) -> dict[str, Tensor]:
        """Everything that must survive an interruption, as flat named tensors."""
        state = {f"network/{k}": v for k, v in self.network.state_dict().items()}
        if self.ema is not None:
            state |= {f"ema/{k}": v for k, v in self.ema.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in slots.items()}
        for name, method in self.methods.items():
            state |= {f"method/{name}/{k}": v for k, v in method.state.items()}
        for name, module in self.modules.items():
            state |= {f"module/{name}/{k}": v for k, v in module.state_dict().items()}
        return state | {"num_steps": torch.tensor(self.num_steps)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.network.load_state_dict(below(state, "network/"))
        if self.ema is not None:
            self.ema.load_state_dict(below(state, "ema/"))
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in below(state, "optimizer/").items():
            index, slot = key.split("/")
            slots.setdefault(int(index), {})[slot] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        for name, method in self.methods.items():
            device = self.network.mean.device
            method.state = {k: v.to(device) for k, v in below(state, f"method/{name}/").items()}
        for name, module in self.modules.items():
            module.load_state_dict(below(state, f"module/{name}/"))
        self.num_steps = int(state["num_steps"])

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of all weights that ship."""
        return {k: v.detach().clone() for k, v in self.weights.state_dict().items()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Put a copy of the weights that ship back."""
        self.weights.load_state_dict(snapshot)


class HeadLearner(Learner):
    """Trains the newest head alone (`train: new_head`), without dropout before it."""

    def __init__(self, network: Classifier, training: Training, **options):
        super().__init__(network, training.model_copy(update={"train": "new_head"}), **options)

    def train_mode(self) -> None:
        """As in evaluation: the features that the head will stand on."""
        self.network.eval()


def full(logits: Tensor) -> Tensor:
    """At least float32: what autocast made shorter."""
    return logits if logits.dtype == torch.float64 else logits.float()


def places(batch: Mapping[str, Part]) -> dict[str, slice]:
    """Where each part's rows are in the joint output, by name."""
    rows, start = {}, 0
    for name, part in batch.items():
        rows[name] = slice(start, start := start + len(part.images))
    return rows


def cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """H(targets, softmax(logits)), each sample weighted, divided by the number of samples; of dense
    answers by that of their pixels.

    Args:
        logits: (N, C) or (N, C, H, W).
        targets: class probabilities like them; of a pixel that nothing is known of, all 0.
        weights: of each sample (N,), or None for 1.
        smoothing: share of every target, 0..1, that is spread evenly over the classes.
    """
    if smoothing:
        even = targets.sum(1, keepdim=True) / targets.shape[1]
        targets = targets + smoothing * (even - targets)
    losses = F.cross_entropy(logits, targets, reduction="none")
    if weights is not None:
        losses = losses * weights.view(-1, *[1] * (losses.ndim - 1))
    return losses.mean()


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
