"""Ten published methods in as few lines as the protocol lets them have: what it must carry, not how
well they learn."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parametrize

from pipeline.data.batches import Part, Stream
from pipeline.methods.semi_supervised.consistency import Consistency
from pipeline.networks.batch_norm import batch_statistics
from pipeline.networks.feature_maps import FeatureMaps
from pipeline.training.learner import below, places
from pipeline.training.method import Method

LAYER = "backbone.layers.5"  # a ReLU
NORM = "backbone.layers.4"  # the BatchNorm before it


def joint(batch: dict[str, Part]) -> Tensor:
    """The images of the joint pass."""
    return torch.cat([part.images for part in batch.values()])


class EWC(Method):
    """Penalty on weights that mattered to earlier tasks (Kirkpatrick et al. 2017)."""

    consolidates = True

    def losses(self, network, batch, output):
        weights, means = dict(network.named_parameters()), below(self.state, "mean/")
        fishers = below(self.state, "fisher/").items()
        far = [(f * (weights[name] - means[name]).square()).sum() for name, f in fishers]
        return {"ewc": 100 * torch.stack(far).sum()}

    def finish(self, setting):
        network = copy.deepcopy(setting.network).requires_grad_(True).eval()
        images, labels = setting.images.images("labelled"), setting.images.labels()
        loss = F.cross_entropy(network(images).logits[:, setting.blocks.new], labels)
        loss.backward()
        for name, weight in network.named_parameters():
            if weight.grad is not None:
                fisher = self.state.get(f"fisher/{name}", 0) + weight.grad.square()
                self.state |= {f"fisher/{name}": fisher, f"mean/{name}": weight.detach()}


class Replay(Method):
    """Images of earlier tasks in every batch (Chaudhry et al. 2019)."""

    consolidates = rehearses = True

    def streams(self, setting):
        images = self.state["images"]
        targets = F.one_hot(self.state["labels"], setting.blocks.trained.stop).float()
        return {"replay": Stream(images, targets, 4, setting.images.weak, device=images.device)}

    def finish(self, setting):
        kept = torch.randperm(len(setting.images.labels()))[:5].tolist()
        images = setting.images.images("labelled")[kept]
        labels = setting.images.labels()[kept] + setting.blocks.new.start
        older = self.state.get("images", images[:0]), self.state.get("labels", labels[:0])
        pairs = zip(("images", "labels"), older, (images, labels))
        self.state = {name: torch.cat([old, new]) for name, old, new in pairs}


class BiC(Method):
    """Bias correction of the new head at the end (Wu et al. 2019)."""

    def finish(self, setting):
        logits = setting.network.eval()(setting.images.images("labelled")).logits.detach()
        labels, start = setting.images.labels() + setting.blocks.new.start, setting.blocks.new.start
        scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([scale, shift], 0.1)
        for _ in range(5):
            corrected = torch.cat([logits[:, :start], scale * logits[:, start:] + shift], 1)
            optimizer.zero_grad()
            F.cross_entropy(corrected, labels).backward()
            optimizer.step()
        head = setting.network.newest_head
        head.weight.data.mul_(scale), head.bias.data.mul_(scale).add_(shift)
        self.state = {"alpha": scale.detach(), "beta": shift.detach()}


class Hints(Method):
    """The teacher's inner maps, reached through a regressor (Romero et al. 2015)."""

    layers, passes = (LAYER,), 1

    def start(self, setting):
        [self._teacher] = setting.teachers.values()
        self._maps = FeatureMaps(self._teacher, self.layers)
        channels = setting.network.get_submodule(NORM).num_features
        self.module = nn.Conv2d(channels, channels, 1)

    def losses(self, network, batch, output):
        self._teacher(joint(batch))
        return {"hints": F.mse_loss(self.module(output.maps[LAYER]), self._maps.take()[LAYER])}


class LwM(Method):
    """What the old model bases its answer on (Dhar et al. 2019, Grad-CAM)."""

    layers, passes = (LAYER,), 1

    def start(self, setting):
        [self._teacher] = setting.teachers.values()
        self._maps = FeatureMaps(self._teacher, self.layers)

    def losses(self, network, batch, output):
        old = self._teacher((joint(batch).float() / 255).requires_grad_()).logits
        theirs = self._attention(old, self._maps.take()[LAYER])
        mine = self._attention(output.logits[:, : old.shape[1]], output.maps[LAYER])
        return {"lwm": 10 * (mine - theirs.detach()).square().sum(1).mean()}

    def _attention(self, logits, maps):
        [grad] = torch.autograd.grad(logits.amax(1).sum(), maps, create_graph=True)
        return F.normalize((grad.mean((2, 3), keepdim=True) * maps).sum(1).relu().flatten(1))


class FlexMatch(Consistency):
    """A threshold for each class, by how many images it is learnt on (Zhang et al. 2021)."""

    name = "flexmatch"

    class Options(Consistency.Options):
        """Of FlexMatch."""

        threshold: float = 0.3

    def start(self, setting):
        super().start(setting)
        self.state = {"label": torch.full((len(setting.images.images("unlabelled")),), -1)}

    def finish(self, setting):
        """It keeps its labels for the next task, as a real one would not."""

    def targets(self, weak):
        confidence, label = weak.softmax(1).max(1)
        known = self.state["label"][self.state["label"] >= 0]
        learnt = torch.bincount(known, minlength=weak.shape[1]) / max(1, len(known))
        sure = confidence >= self.options.threshold
        self.state["label"][self.rows[sure]] = label[sure]
        limit = self.options.threshold * (0.5 + 0.5 * learnt[label])
        return F.one_hot(label, weak.shape[1]).float(), (confidence >= limit).float()


class Generator(Method):
    """Made-up images, by a small network with an optimiser of its own (Yin et al. 2020)."""

    adds, apart = {"made": 4, "answered": 4, "judged": 4}, ("answered", "judged")

    def start(self, setting):
        [self._teacher] = setting.teachers.values()
        self._net = nn.Linear(8, setting.images.images("labelled")[0].numel())
        self._shape = setting.images.dataset.image_shape
        weights = {name: w.detach() for name, w in self._net.named_parameters()}
        momentum = {f"momentum/{name}": torch.zeros_like(w) for name, w in weights.items()}
        self.state = {f"weight/{name}": w for name, w in weights.items()} | momentum

    def _images(self, weights):
        made = functional_call(self._net, weights, (torch.randn(4, 8),))
        return made.sigmoid().reshape(4, *self._shape)

    def batch(self, batch):
        made = self._images(below(self.state, "weight/"))
        return batch | {"made": Part(made.detach(), None, None, None)}

    def losses(self, network, batch, output):
        with torch.no_grad():
            target = self._teacher(batch["made"].images).logits.softmax(1)
        logits = output.logits[places(batch)["made"], : target.shape[1]]
        return {"generator": F.cross_entropy(logits, target)}

    def after_step(self, network, batch, output):
        weights = {n: w.clone().requires_grad_() for n, w in below(self.state, "weight/").items()}
        with batch_statistics(network):
            logits = network(self._images(weights)).logits
        loss = (logits.softmax(1) * logits.log_softmax(1)).sum()  # what it is unsure of
        grads = torch.autograd.grad(loss, list(weights.values()))
        for (name, weight), grad in zip(weights.items(), grads):
            momentum = 0.9 * self.state[f"momentum/{name}"] + grad
            self.state |= {f"momentum/{name}": momentum}
            self.state |= {f"weight/{name}": weight.detach() - 0.1 * momentum}


class Mask(nn.Module):
    """Which weights count: real numbers, of which the step is learnt straight through."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.real = nn.Parameter(torch.full_like(weight, 0.01))

    def forward(self, weight):
        binary = (self.real > 0.005).float()
        return weight.detach() * (binary + self.real - self.real.detach())


class Masks(Method):
    """Old weights as they are, under masks that are learnt (Mallya et al. 2018, Piggyback)."""

    def start(self, setting):
        for layer in setting.network.backbone.modules():
            if type(layer) is nn.Conv2d:
                parametrize.register_parametrization(layer, "weight", Mask(layer.weight))

    def finish(self, setting):
        for name, layer in list(setting.network.named_modules()):
            if parametrize.is_parametrized(layer):
                self.state[name] = layer.parametrizations.weight[0].real > 0.005
                parametrize.remove_parametrizations(layer, "weight")


class Gates(Method):
    """A gate for each channel of a map, folded into the layer before it at the end."""

    def start(self, setting):
        norm = setting.network.get_submodule(NORM)
        self.module = nn.ParameterDict({"open": torch.ones(norm.num_features, 1, 1)})
        self._folded = False
        norm.register_forward_hook(
            lambda layer, given, out: out if self._folded else out * self.module["open"]
        )

    def losses(self, network, batch, output):
        return {"gates": 0.1 * self.module["open"].abs().mean()}

    def finish(self, setting):
        norm, gates = setting.network.get_submodule(NORM), self.module["open"].detach().flatten()
        norm.weight.data.mul_(gates), norm.bias.data.mul_(gates)
        self._folded, self.state = True, {"open": gates}


class Ensemble(Method):
    """The mean answer of several teachers (Hinton et al. 2015)."""

    def start(self, setting):
        self._teachers = list(setting.teachers.values())
        self.passes = len(self._teachers)

    def losses(self, network, batch, output):
        with torch.no_grad():
            logits = [teacher(joint(batch)).logits for teacher in self._teachers]
        known = min(answer.shape[1] for answer in logits)  # a later one may know more classes
        mean = torch.stack([answer[:, :known].softmax(1) for answer in logits]).mean(0)
        return {"ensemble": F.cross_entropy(output.logits[:, :known], mean)}


STUBS: dict[str, type[Method]] = {
    "ewc": EWC,
    "replay": Replay,
    "bic": BiC,
    "hints": Hints,
    "lwm": LwM,
    "flexmatch": FlexMatch,
    "generator": Generator,
    "masks": Masks,
    "gates": Gates,
    "ensemble": Ensemble,
}
