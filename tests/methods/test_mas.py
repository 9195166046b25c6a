"""MAS against gradients of single samples by autograd: of the answer, and of each layer."""

import pytest
import torch
from conftest import tiny_values
from jobs import extension, learn_tasks, with_tasks
from learners import FewImages, copied, equal_states, network, part, setting
from torch import nn
from torch.nn import functional as F

from pipeline.continual.extend import describe
from pipeline.methods.continual.layer_norms import LayerNorms
from pipeline.methods.continual.mas import MemoryAwareSynapses
from pipeline.networks import checkpoint
from pipeline.networks.classifier import Classifier
from pipeline.training.learner import below

HEADS = {"base": 3, "t": 2}


def mas(**options) -> MemoryAwareSynapses:
    return MemoryAwareSynapses(MemoryAwareSynapses.Options(**options))


def exact(**settings) -> Classifier:
    """In float64, with running statistics that are not those of a fresh network."""
    made = network(**settings).double()
    made.train()(part(20).images)
    return made


def brute(made, images, columns, norm=lambda logits: logits.square().sum()) -> dict:
    """The mean of absolute gradients, by a backward pass for each image."""
    weights = dict(made.eval().named_parameters())
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for image in images:
        answer = norm(made(image[None]).logits[0, columns])
        found = torch.autograd.grad(answer, list(weights.values()), allow_unused=True)
        for name, one in zip(weights, found):
            sums[name] += 0 if one is None else one.abs()
    return {name: total / len(images) for name, total in sums.items()}


def all_of(images: FewImages) -> torch.Tensor:
    return torch.cat([images.images("labelled"), images.images("unlabelled")])


@pytest.mark.parametrize("unlabelled", [0, 5])
@pytest.mark.parametrize("columns", [slice(0, 3), slice(3, 5)])
def test_it_is_the_mean_over_labelled_and_unlabelled_images(columns, unlabelled):
    made, images = exact(heads=HEADS), FewImages(unlabelled=unlabelled)
    found = mas().omega(setting(made, [], columns, images=images))
    torch.testing.assert_close(found, brute(made, all_of(images), columns))
    other = "heads.task_t.weight" if columns.start == 0 else "heads.task_base.weight"
    assert not found[other].any()


def test_common_mistakes_give_other_numbers():
    """The norm that is not squared, the softmax, and the gradient of a batch's mean."""
    made, images = exact(), FewImages()
    found = mas().omega(setting(made, [], slice(0, 3), images=images))
    name = "backbone.layers.0.weight"
    wrong = [
        brute(made, all_of(images), slice(0, 3), norm)[name]
        for norm in (lambda z: z.norm(), lambda z: z.softmax(0).square().sum())
    ]
    joint = made(all_of(images)).logits.square().sum(1).mean()
    wrong += [torch.autograd.grad(joint, made.get_parameter(name))[0].abs()]
    for other in wrong:
        assert (other - found[name]).norm() > 0.1 * found[name].norm()


class Dense(nn.Module):
    """Two linear layers: a ReLU behind the first, none behind the second."""

    num_features = 4

    def __init__(self, inplace: bool):
        super().__init__()
        self.one, self.relu, self.two = nn.Linear(64, 5), nn.ReLU(inplace), nn.Linear(5, 4)

    def forward(self, images):
        return self.two(self.relu(self.one(images.flatten(1))))


@pytest.mark.parametrize("inplace", [False, True])
def test_the_local_importance_is_hebbian(inplace):
    """mean 2 |x_i| relu(z_j) behind a ReLU, else mean 2 |x_i| |z_j|; of biases the same with x of
    1; of the heads that of the task's own."""
    torch.manual_seed(0)
    made = Classifier(Dense(inplace), HEADS, [0.5], [0.3]).double()
    images = FewImages()
    found = mas(variant="local").omega(setting(made, [], slice(0, 3), images=images))
    x = ((all_of(images).float() / 255 - made.mean) / made.std).flatten(1)
    with torch.no_grad():
        first = made.backbone.one(x)
        hidden = first.relu()
        features = made.backbone.two(hidden)
        logits = made.head("base")(features)
    for name, inputs, outputs in [
        ("backbone.one", x, first.relu()),
        ("backbone.two", hidden, features.abs()),
        ("heads.task_base", features, logits.abs()),
    ]:
        wanted = 2 * (outputs[:, :, None] * inputs.abs()[:, None]).mean(0)
        torch.testing.assert_close(found[f"{name}.weight"], wanted)
        torch.testing.assert_close(found[f"{name}.bias"], 2 * outputs.mean(0))
    assert not found["heads.task_t.weight"].any()
    no_relu = 2 * (first.abs()[:, :, None] * x.abs()[:, None]).mean(0)
    assert (no_relu - found["backbone.one.weight"]).norm() > 0.1 * no_relu.norm()


def test_the_local_importance_is_that_of_each_layers_own_squared_norm():
    """Of a convolutional network, whose BatchNorm layers have a ReLU behind them: by autograd, with
    each layer run by itself on what it is given."""
    made, images = exact(), FewImages(unlabelled=0)
    found = mas(variant="local").omega(setting(made, [], slice(0, 3), images=images))
    layers = list(made.eval().backbone.layers)
    sums = {name: torch.zeros_like(weight) for name, weight in made.named_parameters()}
    for image in images.images("labelled"):
        x = ((image[None].float() / 255 - made.mean) / made.std).double()
        for place, layer in enumerate(layers):
            weights = dict(layer.named_parameters())
            z = layer(x.clone())
            if weights:
                behind = isinstance(layers[place + 1], nn.ReLU)
                norm = (F.relu(z) if behind else z).square().sum()
                for key, one in zip(weights, torch.autograd.grad(norm, list(weights.values()))):
                    sums[f"backbone.layers.{place}.{key}"] += one.abs() / 9
            x = z.detach()
        z = made.newest_head(x.mean((2, 3))).square().sum()
        head = made.newest_head.weight, made.newest_head.bias
        for key, one in zip(("weight", "bias"), torch.autograd.grad(z, head)):
            sums[f"heads.task_base.{key}"] += one.abs() / 9
    torch.testing.assert_close(found, sums)


def test_an_attention_is_one_layer():
    """Which uses the weights of the linear layers inside without calling them."""
    torch.manual_seed(0)

    class Attends(nn.Module):
        num_features = 8

        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.token = nn.Parameter(torch.randn(8))

        def forward(self, images):
            rows = images[:, 0] + self.token
            return self.attention(rows, rows, rows, need_weights=False)[0].mean(1)

    made = Classifier(Attends(), {"base": 3}, [0.5], [0.3]).eval()
    image = part(1).images
    norms = LayerNorms(made, slice(0, 3), image)
    made(image)
    norms.take().backward()
    attention, inputs = made.backbone.attention, (image[:, 0] / 255 - 0.5) / 0.3
    got = [weight.grad for weight in attention.parameters()]
    rows = inputs + made.backbone.token.detach()
    own = attention(rows, rows, rows, need_weights=False)[0].square().sum()
    wanted = torch.autograd.grad(own, list(attention.parameters()))
    torch.testing.assert_close(got, list(wanted), rtol=1e-4, atol=1e-5)
    assert made.backbone.token.grad is None or not made.backbone.token.grad.any()


def test_its_gradient_is_twice_weight_times_importance_times_the_way_back():
    made, method = exact(), mas(weight=0.01)
    method.finish(setting(made, [], slice(0, 3), images=FewImages()))
    old = copied(made)
    made.add_head("t", 2)
    made.double()
    method.start(setting(made, [slice(0, 3)], slice(3, 5)))
    assert float(method.losses(made, {}, None)["mas"].detach()) == 0.0
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight))
    method.losses(made, {}, None)["mas"].backward()
    for name, before in old.named_parameters():
        weight = made.get_parameter(name)
        wanted = 2 * 0.01 * method.state[f"omega/{name}"] * (weight.detach() - before)
        torch.testing.assert_close(weight.grad, wanted)
        assert name.startswith("heads.") or wanted.any()
    assert made.head("t").weight.grad is None


def test_importance_adds_up_over_tasks_around_the_newest_weights():
    made, method, alone = exact(heads=HEADS), mas(), []
    for columns in (slice(0, 3), slice(3, 5)):
        task = setting(made, [], columns, images=FewImages(seed=columns.start))
        method.finish(task)
        alone.append(mas().omega(task))
        newest = {k: w.detach().clone() for k, w in made.named_parameters()}
        with torch.no_grad():
            for weight in made.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    summed = {k: alone[0][k] + alone[1][k] for k in newest}
    torch.testing.assert_close(below(method.state, "omega/"), summed)
    assert equal_states(below(method.state, "mean/"), newest)


@pytest.mark.parametrize("variant", ["global", "local"])
def test_the_tasks_of_a_chain_hand_on_what_matters(chain, variant):
    """By the real stages; the card says that unlabelled images were read."""
    recipe = {"methods": {"mas": {"weight": 0.01, "variant": variant}}}
    recipe |= {"training": {"steps": 3, "evaluate_every": 3}}
    with_tasks(
        chain,
        t1=recipe | {"classes": ["8"]},
        t2=recipe | {"base": "t1", "classes": ["9"]},
    )
    learn_tasks("t1", "t2")
    nets, kept = {}, {}
    for name in ("t1", "t2"):
        made, card = checkpoint.load(f"models/{name}")
        nets[name] = {key: weight.detach() for key, weight in made.named_parameters()}
        kept[name] = below(checkpoint.load_memory(f"models/{name}", card), "mas/")
        assert equal_states(below(kept[name], "mean/"), nets[name])
        assert card["data"][name].keys() == {"labelled", "unlabelled", "val"}
    before, after = below(kept["t1"], "omega/"), below(kept["t2"], "omega/")
    assert all((after[name] >= value).all() for name, value in before.items())
    assert (after["backbone.layers.0.weight"] > before["backbone.layers.0.weight"]).any()


def test_without_it_a_task_does_not_say_that_it_reads_unlabelled_images(chain):
    with_tasks(
        chain,
        t1={
            "methods": {"ewc": {"fisher": "empirical"}},
            "data": {"root": tiny_values()["data"]["root"]},
        },
    )
    assert describe(extension("t1"))["data"]["t1"].keys() == {"labelled", "val"}
