"""Less-forgetting learning against its formula."""

import torch
from conftest import read_curves
from jobs import learn_tasks, with_tasks
from learners import copied, equal_states, network, part, setting

from pipeline.data import store
from pipeline.methods.continual.lfl import LessForgettingLearning, distance
from pipeline.networks import checkpoint


def lfl(**options) -> LessForgettingLearning:
    return LessForgettingLearning(LessForgettingLearning.Options(**options))


def test_the_distance_is_half_the_squared_norm_of_each_sample():
    ours = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    old = torch.randn(5, 7, dtype=torch.float64)
    wanted = [sum((a - b) ** 2 for a, b in zip(*pair)) / 2 for pair in zip(ours, old)]
    results = distance(ours, old)
    torch.testing.assert_close(results, torch.stack(wanted))
    [grad] = torch.autograd.grad(results.mean(), ours)
    torch.testing.assert_close(grad, (ours - old).detach() / 5)
    mistaken = (ours - old).square().mean()  # over features too, as `mse_loss` has it
    assert not torch.allclose(results.mean(), mistaken)


def test_old_features_are_of_the_same_pixels_in_evaluation():
    made = network(heads={"base": 3, "t": 2})
    old, method = copied(made), lfl(weight=4.0)
    method.start(setting(made, [slice(0, 3)], slice(3, 5), {"base": old}))
    before = {key: value.clone() for key, value in old.state_dict().items()}
    batch = {"labelled": part(4, 1, classes=2), "unlabelled": part(3, 2)}
    images = torch.cat([p.images for p in batch.values()])
    output = made.train()(images)
    results = method.losses(made, batch, output)["lfl"]
    wanted = 4.0 * (output.features - old(images).features).norm(dim=1).square().mean() / 2
    torch.testing.assert_close(results, wanted)
    results.backward()
    assert equal_states(before, old.state_dict()) and results > 0
    assert all(weight.grad is None for weight in old.parameters())
    assert made.head("base").weight.grad is None  # behind the features


def test_in_a_task_features_stay_nearer_and_old_heads_as_they_are(chain):
    recipe = {"methods": {"lfl": {}}, "training": {"learning_rate": 0.01}}
    free = recipe | {"methods": {"lfl": {"weight": 0.0}}}
    with_tasks(chain, t1=free, t2=recipe)
    learn_tasks("t1", "t2")
    base, _ = checkpoint.load("models/g2")
    images, far = torch.from_numpy(store.load("data/prepared/t1").array("val").copy()), []
    with torch.no_grad():
        for name in ("t1", "t2"):
            made, _ = checkpoint.load(f"models/{name}")
            assert equal_states(base.head("base").state_dict(), made.head("base").state_dict())
            far.append(float(distance(made(images).features, base(images).features).mean()))
    assert 0 < far[1] < 0.9 * far[0]
    assert float(read_curves(chain / "models/t2/curves.csv")[-1]["lfl"]) > 0
