"""A count of the images that really go through networks."""

from __future__ import annotations

import numpy as np
from torch.nn.modules.module import register_module_forward_pre_hook

from pipeline.data import tasks
from pipeline.networks import evaluate
from pipeline.networks.classifier import Classifier


class Count:
    """Images that go through classifiers, of whatever network, but for evaluations on val; features
    that go through heads alone are none."""

    def __init__(self, monkeypatch):
        self.by_network: dict[int, int] = {}
        self._on, self._infer = True, evaluate.infer
        self._hook = register_module_forward_pre_hook(self._forward)
        monkeypatch.setattr(evaluate, "infer", self._inferring)

    def _forward(self, module, inputs):
        if self._on and isinstance(module, Classifier) and inputs[0].shape[2:] != (1, 1):
            number = id(module)
            self.by_network[number] = self.by_network.get(number, 0) + len(inputs[0])

    def _inferring(self, network, images, *rest, **named):
        self._on = not self._is_val(images)
        try:
            return self._infer(network, images, *rest, **named)
        finally:
            self._on = True

    def _is_val(self, images) -> bool:
        """Of the base task, and perhaps of `t1` behind it."""
        base, new = (tasks.dataset(name).array("val") for name in ("base", "t1"))
        given = np.asarray(images)
        return any(np.array_equal(given, val) for val in (base, np.concatenate([base, new])))

    @property
    def total(self) -> int:
        """Of all networks."""
        return sum(self.by_network.values())

    def close(self) -> None:
        """Count no more."""
        self._hook.remove()
