"""A pass over one image that a network shrinks to one pixel: one line before training."""

import pytest
import torch
from conftest import tiny_values, write_params
from jobs import extension, job, with_tasks

from pipeline.continual.extend import extend
from pipeline.core.errors import UserError
from pipeline.meta.train import learn_with_teacher
from pipeline.networks import NETWORKS
from pipeline.networks.batch_norm import check_one_image
from pipeline.networks.classifier import Classifier
from pipeline.students.learn import learn
from pipeline.training.learner import Learner

ONE = {"batch_size": 1}
PIXEL = {"image_size": 4}  # which small_cnn halves twice
LINE = r"error: training\.batch_size: .* one image .* one pixel .*; fix: raise it"


def classifier(name: str = "small_cnn") -> Classifier:
    torch.manual_seed(0)
    return Classifier(NETWORKS[name].build(1, 0.125, 0.0), {"base": 3}, [0.5], [0.3])


def trains_on_one(network: Classifier, image: torch.Tensor) -> bool:
    """What torch itself says to one image in training mode."""
    try:
        network.train()(image)
    except ValueError as error:
        assert "more than 1 value per channel" in str(error)
        return False
    return True


@pytest.mark.parametrize("name", [name for name in NETWORKS if "/" not in name])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 8])
def test_it_refuses_what_torch_cannot_normalise_and_nothing_else(name, side):
    image = torch.randint(0, 256, (1, 1, side, side), dtype=torch.uint8)
    possible = trains_on_one(classifier(name), image)
    network = classifier(name).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    if possible:
        check_one_image(network, image)
    else:
        with pytest.raises(UserError, match=LINE):
            check_one_image(network, image)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_layers_in_evaluation_mode_normalise_a_single_value():
    """As those of frozen parts, and of a warm-up."""
    check_one_image(classifier().eval(), torch.zeros(1, 1, 4, 4))


def write(folder, block: str, training: dict, **spec) -> None:
    values = tiny_values()
    short = {"steps": 2, "evaluate_every": 2, "warmup_steps": 0}
    model = values["teacher"] if block == "teacher" else next(iter(values[block].values()))
    model.pop("fine_tune", None)
    model |= {"training": short | training} | spec
    write_params(folder, values)


def refused(call, monkeypatch) -> None:
    monkeypatch.setattr(Learner, "step", lambda *_: pytest.fail("it trained"))
    with pytest.raises(UserError, match=LINE) as caught:
        call()
    assert len(caught.value.lines) == 1


SEPARATE, RATIO = {"batch_norm": "separate"}, {"unlabelled_ratio": 0.5}
UDA, JOINT = {"uda": {}}, {"uda": {"weak_view": "joint"}}


@pytest.mark.parametrize(
    ("training", "methods"),
    [(ONE, {}), (ONE | SEPARATE, UDA), (RATIO | {"batch_size": 2}, UDA)],
    ids=["labelled alone", "a pass for each part", "a weak view of one image"],
)
def test_a_teacher_is_refused(chain, monkeypatch, training, methods):
    write(chain, "teacher", PIXEL | training, methods=methods)
    refused(lambda: learn(job("teacher")), monkeypatch)


@pytest.mark.parametrize(
    ("training", "methods"),
    [
        (ONE, {}),  # on 8x8 pixels, of which four are left
        (ONE | SEPARATE, UDA),
        (PIXEL | {"batch_size": 2}, {}),
        (PIXEL | ONE, UDA),  # with two unlabelled images in one pass
        (PIXEL | RATIO | {"batch_size": 2}, JOINT),
    ],
)
def test_a_teacher_trains(chain, training, methods):
    write(chain, "teacher", training, methods=methods)
    assert learn(job("teacher"))["metrics"]["val_loss"] > 0


@pytest.mark.parametrize(
    "spec", [{}, {"feedback": "inner_product"}, {"labels": "soft"}, {"reduced": True}], ids=str
)
def test_a_pair_whose_labelled_loss_is_of_one_image(chain, monkeypatch, spec):
    write(chain, "meta_pseudo_labels", ONE, **spec)
    learn_with_teacher(job("m1"))
    write(chain, "meta_pseudo_labels", PIXEL | ONE, **spec)
    refused(lambda: learn_with_teacher(job("m1")), monkeypatch)


@pytest.mark.parametrize("spec", [{}, {"reduced": True}], ids=str)
def test_a_pair_whose_teacher_alone_shrinks_an_image_to_a_pixel(chain, monkeypatch, spec):
    """It trains with a pass for each part; a reduced one sees no image in training."""
    values = tiny_values()
    values["teacher"] |= {"network": "resnet_9", "width": 0.05}
    pair = {"teacher": "teacher", "network": "small_cnn", "width": 0.25, "training": ONE | SEPARATE}
    write_params(chain, values | {"meta_pseudo_labels": {"m1": pair | spec}})
    learn(job("teacher"))
    if spec:
        learn_with_teacher(job("m1"))
    else:
        refused(lambda: learn_with_teacher(job("m1")), monkeypatch)


def test_a_task_of_one_image_a_step(chain):
    """Its warm-up, in evaluation mode, could do it on a pixel."""
    methods = {"lwf": {"warmup_steps": 2}}
    with_tasks(chain, t1={"methods": methods, "training": ONE})
    assert extend(extension())["metrics"]["val_loss"] > 0
    values = tiny_values()
    values["teacher"]["training"] = PIXEL
    task = values["tasks"]["t1"] | {"base": "teacher", "methods": methods, "training": ONE}
    write_params(chain, values | {"tasks": {"t1": task}})
    learn(job("teacher"))
    with pytest.raises(UserError, match=LINE):
        extend(extension())
