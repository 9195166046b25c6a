"""SGD with Nesterov momentum, in one pass over the weights."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class SGD:
    """g <- g + decay * w;  b <- momentum * b + g;  w <- w - lr * (g + momentum * b).

    With the protocol, the state and the bits of `torch.optim.SGD(nesterov=True, fused=True)`; the
    unfused form takes 1.3 to 2.1 times as long on a CPU and rounds the last few values of a weight
    (its size modulo 16) otherwise. No subclass of torch's, because the first of its optimisers
    imports its compiler: 1.3 s of a CPU as every training begins.

    Args:
        groups: dicts of `params` and `weight_decay`.
        lr: a group's rate may later be set to a tensor () on the device, which the step reads there
            (a captured step must).
        momentum: 0 or more, below 1.
    """

    def __init__(self, groups: Iterable[Mapping], lr: float, momentum: float = 0.9):
        shared = {"lr": lr, "momentum": momentum, "nesterov": True}
        self.param_groups = [{**shared, **group} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or set them to 0."""
        for weight in self._weights():
            if set_to_none:
                weight.grad = None
            elif weight.grad is not None:
                weight.grad.detach_().zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights that have a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            torch._fused_sgd_(
                weights,
                [laid_out(weight.grad, weight) for weight in weights],
                [self._buffer(weight) for weight in weights] if group["momentum"] else [],
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=0.0,
                nesterov=group["nesterov"],
                maximize=False,
                is_first_step=False,
            )

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.param_groups for weight in group["params"]]

    def _buffer(self, weight: Tensor) -> Tensor:
        slots = self.state[weight]
        if "momentum_buffer" not in slots:
            slots["momentum_buffer"] = torch.zeros_like(weight)
        return slots["momentum_buffer"]

    def state_dict(self) -> dict:
        """As torch's: `state`, of each weight by its number, and `param_groups`."""
        numbers = {weight: number for number, weight in enumerate(self._weights())}
        groups = [
            {**group, "params": [numbers[weight] for weight in group["params"]]}
            for group in self.param_groups
        ]
        state = {numbers[weight]: dict(slots) for weight, slots in self.state.items() if slots}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: Mapping) -> None:
        """Put back what `state_dict` gave; tensors are copied."""
        for group, theirs in zip(self.param_groups, state["param_groups"], strict=True):
            group |= {key: value for key, value in theirs.items() if key != "params"}
        self.state.clear()
        weights = self._weights()
        for number, slots in state["state"].items():
            self._buffer(weights[number]).copy_(slots["momentum_buffer"])


def laid_out(values: Tensor, weight: Tensor) -> Tensor:
    """The values in the memory layout of the weight: the fused step goes through both as they lie,
    and would mix up channels_last with another one."""
    if values.stride() == weight.stride():
        return values
    return torch.empty_like(weight).copy_(values)
