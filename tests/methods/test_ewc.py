"""EWC against gradients of single samples by autograd, and over a chain of tasks."""

from dataclasses import replace

import pytest
import torch
from conftest import read_curves
from jobs import learn_tasks, with_tasks
from learners import TRAINING, FewImages, copied, equal_states, network, part, setting
from torch.nn import functional as F

from pipeline.methods.continual.anchor import drawn
from pipeline.methods.continual.ewc import ElasticWeightConsolidation
from pipeline.networks import checkpoint
from pipeline.training.learner import Learner, below

HEADS = {"base": 3, "t": 2}


def ewc(**options) -> ElasticWeightConsolidation:
    return ElasticWeightConsolidation(ElasticWeightConsolidation.Options(**options))


def after_base(made, columns=slice(0, 3), images=None):
    """The setting in which the base's task is over."""
    return setting(made, [], columns, images=images or FewImages())


def exact(**settings):
    """In float64, with running statistics that are not those of a fresh network."""
    made = network(**settings).double()
    made.train()(part(20).images)
    return made


def gradients(made, images, labels, columns=slice(0, 3)) -> list[dict[str, torch.Tensor]]:
    """Of -log p(label), by a backward pass for each image."""
    weights, each = dict(made.eval().named_parameters()), []
    for image, label in zip(images, labels):
        loss = F.cross_entropy(made(image[None]).logits[:, columns], label[None])
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        each.append(
            {
                k: torch.zeros_like(w) if g is None else g
                for (k, w), g in zip(weights.items(), found)
            }
        )
    return each


def mean_square(each: list[dict]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([one[name] for one in each]).square().mean(0) for name in each[0]}


def test_the_empirical_fisher_is_the_mean_of_single_samples_squared_gradients():
    made, images = exact(), FewImages()
    found = ewc(fisher="empirical").fisher(after_base(made, images=images))
    each = gradients(made, images.images("labelled"), images.labels())
    torch.testing.assert_close(found, mean_square(each))


def test_labels_are_those_of_the_tasks_own_columns_and_other_heads_have_no_part():
    """A second task of two classes, its cross-entropy over its own block."""
    made, images = exact(heads=HEADS), FewImages(classes=2)
    task = setting(made, [slice(0, 3)], slice(3, 5), images=images)
    found = ewc(fisher="empirical").fisher(task)
    each = gradients(made, images.images("labelled"), images.labels(), slice(3, 5))
    torch.testing.assert_close(found, mean_square(each))
    assert not found["heads.task_base.weight"].any() and found["heads.task_t.bias"].all()


def test_over_all_logits_the_labels_stand_behind_the_old_ones():
    made, images = exact(heads=HEADS), FewImages(classes=2)
    task = setting(made, [slice(0, 3)], slice(3, 5), images=images)
    everything = task.blocks._replace(trained=slice(0, 5))
    found = ewc(fisher="empirical").fisher(replace(task, blocks=everything))
    labels = images.labels() + 3
    each = gradients(made, images.images("labelled"), labels, slice(0, 5))
    torch.testing.assert_close(found, mean_square(each))


def test_labels_stay_with_the_images_that_are_drawn():
    made, images = exact(), FewImages()
    torch.manual_seed(0)
    rows = drawn(9, 4)
    torch.manual_seed(0)
    found = ewc(fisher="empirical", images=4).fisher(after_base(made, images=images))
    each = gradients(made, images.images("labelled")[rows], images.labels()[rows])
    torch.testing.assert_close(found, mean_square(each))


def by_class(made, images, name: str = "") -> torch.Tensor:
    """Each image's gradient if it were of each class (3, N, weights), of one weight or all."""
    rows = []
    for label in range(3):
        for one in gradients(made, images, torch.full((len(images),), label)):
            rows.append(torch.cat([g.flatten() for key, g in one.items() if name in key]))
    return torch.stack(rows).reshape(3, len(images), -1)


def test_the_true_fisher_draws_labels_from_the_models_answers():
    """Over many draws it is the sum over classes of p times the squared gradient: nothing that the
    labels say, and not the gradient of the likeliest class."""
    made, images, name = exact(), FewImages(classes=2), "heads.task_base.bias"
    with torch.no_grad():
        made.newest_head.weight.mul_(3)
        answers = made.eval()(images.images("labelled")).logits.softmax(1)
    squares = by_class(made, images.images("labelled"), name).square()

    def expected(shares) -> torch.Tensor:
        return torch.einsum("ic,cik->k", shares.double(), squares) / 6

    wrong = [F.one_hot(images.labels(), 3), F.one_hot(answers.argmax(1), 3)]
    images._splits["labelled"] = images._splits["labelled"].repeat(100, 1, 1, 1)
    images._splits["unlabelled"] = images._splits["labelled"]  # which need no labels
    torch.manual_seed(0)
    found = ewc().fisher(after_base(made, images=images))[name]
    right = expected(answers)
    assert (found - right).norm() < 0.05 * right.norm()
    assert all((found - expected(shares)).norm() > 0.2 * right.norm() for shares in wrong)


def test_the_square_of_a_batchs_mean_gradient_is_smaller_by_the_size_of_the_batch():
    """The common mistake, at 32 images a batch, over 120 batches."""
    made, images = exact(), part(96).images
    each, rows = by_class(made, images), torch.arange(96)
    answers = made.eval()(images).logits.detach().softmax(1)
    right, wrong = [], []
    torch.manual_seed(0)
    for _ in range(40):
        labels = torch.multinomial(answers, 1)[:, 0]
        drawn = each[labels, rows]  # (96, weights)
        right.append(drawn.square().mean(0).sum())
        wrong.append(drawn.reshape(3, 32, -1).mean(1).square().mean(0).sum())
    right, wrong = sum(right) / 40, sum(wrong) / 40
    assert 24 < right / wrong < 43
    few = FewImages(unlabelled=0)
    few._splits["labelled"] = images
    torch.manual_seed(0)
    found = sum(float(f.sum()) for f in ewc().fisher(after_base(made, images=few)).values())
    assert found == pytest.approx(float(right), rel=0.3) != pytest.approx(float(wrong), rel=0.9)


@pytest.mark.parametrize("fisher", ["true", "empirical"])
def test_its_gradient_is_weight_times_fisher_times_the_way_back(fisher):
    """On all weights of the earlier task, its head among them; the new head is free."""
    made, method = exact(), ewc(weight=5.0, fisher=fisher)
    method.finish(after_base(made))
    old = copied(made)
    made.add_head("t", 2)
    made.double()
    method.start(setting(made, [slice(0, 3)], slice(3, 5)))
    loss = method.losses(made, {}, None)["ewc"]
    loss.backward()
    assert float(loss.detach()) == 0.0 and not made.head("base").weight.grad.any()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight))
            weight.grad = None
    loss = method.losses(made, {}, None)["ewc"]
    loss.backward()
    total = 0.0
    for name, before in old.named_parameters():
        weight, found = made.get_parameter(name), method.state[f"fisher/0/{name}"]
        torch.testing.assert_close(weight.grad, 5.0 * found * (weight.detach() - before))
        total += float((found * (weight.detach() - before).square()).sum())
    assert float(loss.detach()) == pytest.approx(5.0 / 2 * total)
    assert abs(5.0 * total - float(loss.detach())) > 0.9 * float(loss.detach())  # without the 1/2
    assert method.state["fisher/0/heads.task_base.weight"].any()
    assert made.head("t").weight.grad is None


def two_tasks(**options):
    """A method after two tasks, the Fisher information of each by itself, and the weights."""
    made, method, alone = exact(heads=HEADS), ewc(fisher="empirical", **options), []
    weights = []
    for columns in (slice(0, 3), slice(3, 5)):
        images = FewImages(classes=columns.stop - columns.start, seed=columns.start)
        task = setting(made, [slice(0, 3)] if columns.start else [], columns, images=images)
        method.finish(task)
        alone.append(ewc(fisher="empirical").fisher(task))
        weights.append({k: w.detach().clone() for k, w in made.named_parameters()})
        with torch.no_grad():
            for weight in made.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    method.start(setting(made, [slice(0, 3)], slice(3, 5)))
    return made, method, alone, weights


def pulls(made, fishers, weights) -> list[float]:
    now = dict(made.named_parameters())
    return [
        float(sum((f[k] * (now[k].detach() - w[k]).square()).sum() for k in w))
        for f, w in zip(fishers, weights)
    ]


def test_separate_tasks_pull_each_to_its_own_weights():
    made, method, alone, weights = two_tasks(weight=2.0)
    found = float(method.losses(made, {}, None)["ewc"].detach())
    assert found == pytest.approx(sum(pulls(made, alone, weights)))
    assert len(method.state) == 2 * 2 * len(weights[0])  # and so on with every task


def test_online_is_a_fading_sum_around_the_newest_weights():
    made, method, alone, weights = two_tasks(weight=2.0, tasks="online", gamma=0.3)
    faded = {k: 0.3 * alone[0][k] + alone[1][k] for k in alone[0]}
    found = float(method.losses(made, {}, None)["ewc"].detach())
    assert found == pytest.approx(*pulls(made, [faded], weights[1:]))
    assert len(method.state) == 2 * len(weights[0])
    around_the_first = pulls(made, [faded], weights[:1])[0]
    assert abs(around_the_first - found) > 0.1 * found
    assert equal_states(below(method.state, "mean/0/"), weights[1])


def test_a_chain_may_change_from_separate_to_online():
    made, method, alone, _ = two_tasks()
    then = ewc(fisher="empirical", tasks="online", gamma=0.5)
    then.state = dict(method.state)
    task = setting(made, [slice(0, 3)], slice(3, 5), images=FewImages(classes=2))
    then.finish(task)
    newest = ewc(fisher="empirical").fisher(task)
    wanted = {k: newest[k] + 0.5 * (alone[0][k] + alone[1][k]) for k in newest}
    torch.testing.assert_close(below(then.state, "fisher/0/"), wanted)
    assert not below(then.state, "fisher/1/")


def test_an_update_ends_nearer_to_the_old_weights_where_they_matter():
    far = {}
    for weight in (0.0, 400.0):
        made, method = network(heads=HEADS), ewc(weight=weight)
        method.finish(after_base(made))
        method.start(setting(made, [slice(0, 3)], slice(3, 5)))
        training = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0})
        learner = Learner(made, training, methods={"ewc": method})
        for step in range(15):
            learner.step({"labelled": part(6, step, classes=2, columns=slice(3, 5))})
        far[weight] = pulls(
            made, [below(method.state, "fisher/0/")], [below(method.state, "mean/0/")]
        )[0]
    assert far[400.0] < 0.3 * far[0.0]


METHODS = {"ewc": {"weight": 1.0}, "lwf": {"warmup_steps": 1}}


def test_the_tasks_of_a_chain_hand_on_what_matters(chain):
    """By the real stages, beside Learning without Forgetting: `t2` has what `t1` learnt of the base
    and of itself, at the weights that they shipped."""
    recipe = {"methods": METHODS, "training": {"steps": 3, "evaluate_every": 3}}
    with_tasks(
        chain,
        t1=recipe | {"classes": ["8"], "scenario": "class"},
        t2=recipe | {"base": "t1", "classes": ["9"]},
    )
    learn_tasks("t1", "t2")
    nets, kept = {}, {}
    for name in ("g2", "t1", "t2"):
        made, card = checkpoint.load(f"models/{name}")
        nets[name] = {key: weight.detach() for key, weight in made.named_parameters()}
        kept[name] = below(checkpoint.load_memory(f"models/{name}", card), "ewc/")
    for place, name in enumerate(("g2", "t1", "t2")):
        means = below(kept["t2"], f"mean/{place}/")
        assert equal_states(means, nets[name])
        assert means.keys() == below(kept["t2"], f"fisher/{place}/").keys()
    assert all(torch.equal(value, kept["t2"][key]) for key, value in kept["t1"].items())
    [row] = read_curves(chain / "models/t2/curves.csv")
    assert float(row["ewc"]) > 0 and float(row["lwf"]) > 0
