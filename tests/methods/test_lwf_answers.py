"""What else Learning without Forgetting may ask: recorded answers, and BiC's balance."""

import shutil

import pytest
import torch
from conftest import same_files, tiny_values, write_params
from jobs import extension, learn_tasks, spy_on_fits, with_tasks
from learners import TRAINING, FewImages, copied, equal_states, network, part, setting

from pipeline.continual.extend import extend
from pipeline.core import files
from pipeline.data.batches import Batches
from pipeline.methods.continual.lwf import LearningWithoutForgetting, distillation, share_of_old
from pipeline.networks import checkpoint
from pipeline.training.learner import Learner
from pipeline.training.method import Blocks

CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0})
HEADS = {"base": 3, "t1": 2, "t": 2}
OLD = pytest.mark.parametrize("old", [[slice(0, 5)], [slice(0, 3), slice(3, 5)]], ids=str)


def begun(old, held_out=(), **options):
    """A network a little away from its base, and the method."""
    made, images = network(heads=HEADS), FewImages(2)
    grey = torch.arange(6, dtype=torch.uint8)[:, None, None, None] * 45
    images.images("labelled").copy_(grey.expand(-1, 1, 8, 8))  # so that answers are far apart
    with torch.no_grad():
        for weight in made.heads.parameters():
            weight.mul_(10)
    method = LearningWithoutForgetting(LearningWithoutForgetting.Options(**options))
    given = setting(made, old, slice(5, 7), {"base": copied(made)}, CALM, images)
    given.__dict__["held_out"] = torch.tensor(held_out, dtype=torch.int64).numpy()
    method.start(given)
    with torch.no_grad():
        for weight in made.heads.parameters():
            weight.add_(torch.randn_like(weight))
    return made, method, images.images("labelled")


def kept(logits, answers, old):
    """By hand."""
    return sum(distillation(logits[:, block], answers[:, block], 2.0).mean() for block in old)


@OLD
def test_recorded_answers_are_those_to_the_image_as_it_is_on_the_disk(old):
    """Of the very samples, whatever view of them is trained on; not answered again at each step,
    and not those of the rows as if nothing were held out."""
    made, method, images = begun(old, [0, 2], record=True)
    rows = torch.tensor([3, 0, 0, 1])  # of the samples that are left
    samples = images[[1, 3, 4, 5]][rows]
    batch = {
        "other": part(3, 5),
        "labelled": part(4)._replace(images=255 - samples, rows=rows),
    }
    output = made(torch.cat([p.images for p in batch.values()]))
    results = method.losses(made, batch, output)["lwf"].detach()
    answer = method._old
    torch.testing.assert_close(results, kept(output.logits[3:], answer(samples).logits, old))
    mistakes = {
        "each step": kept(output.logits[3:], answer(255 - samples).logits, old),
        "held out": kept(output.logits[3:], answer(images[rows]).logits, old),
        "places": kept(output.logits[:4], answer(samples).logits, old),
    }
    for mistaken in mistakes.values():
        assert not torch.allclose(results, mistaken, rtol=1e-4)
    assert method.passes == 0 and not method.state


def test_recorded_answers_take_a_gradient_to_the_network_alone():
    made, method, images = begun([slice(0, 5)], record=True)
    before = {key: value.clone() for key, value in method._old.state_dict().items()}
    learner = Learner(made, CALM, methods={"lwf": method})
    batch = {"labelled": part(4, classes=2, columns=slice(5, 7))}
    first = learner.step(batch)["lwf"]
    for _ in range(10):
        last = learner.step(batch)["lwf"]
    assert 0 < last < first and equal_states(before, method._old.state_dict())


def test_in_a_task_the_rows_of_a_batch_find_their_answers(chain, monkeypatch):
    """In the stream that is really trained on."""
    values = tiny_values()
    values["tasks"]["t1"]["methods"] = {"lwf": {"record": True, "warmup_steps": 0}}
    write_params(chain, values)
    seen = []

    def note(learner, streams, phase):
        seen.append((learner.methods["lwf"], Batches(streams, seed=0, model="t1")(0), streams))

    spy_on_fits(monkeypatch, note)
    extend(extension())
    [(method, batch, streams)] = seen
    rows = batch["labelled"].rows
    images = torch.as_tensor(streams["labelled"].images)[rows]
    base, _ = checkpoint.load("models/g2")
    torch.testing.assert_close(method._answers[rows], base(images).logits)


def test_interrupted_and_resumed_the_answers_are_there_again(chain, monkeypatch):
    """The same bytes; nothing of them is kept for the next task."""
    recipe = {"methods": {"lwf": {"record": True}}, "training": {"steps": 6, "evaluate_every": 3}}
    with_tasks(chain, t1=recipe)
    learn_tasks("t1")
    shutil.move(chain / "models/t1", chain / "whole")
    monkeypatch.setenv("LINEAGE_CHECKPOINT_SECONDS", "0.000001")
    step = Learner.step

    def cut(self, batch):
        if self.methods and self.num_steps == 4:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", cut)
        with pytest.raises(KeyboardInterrupt):
            learn_tasks("t1")
    steps = []

    def noted(self, batch):
        steps.append(self.num_steps if self.methods else None)
        return step(self, batch)

    monkeypatch.setattr(Learner, "step", noted)
    learn_tasks("t1")
    assert steps == [4, 5], "the head is trained no more"
    same_files(chain / "whole", chain / "models/t1")
    assert not checkpoint.load_memory("models/t1", checkpoint.read_card("models/t1"))


@OLD
def test_the_balance_is_the_share_of_old_classes_and_not_its_complement(old):
    """BiC's lambda, old over all: 5 of 7."""
    made, method, _ = begun(old, balance="classes", weight=3.0)
    assert share_of_old(Blocks(old, slice(5, 7), slice(5, 7))) == 5 / 7
    learner = Learner(made, CALM, methods={"lwf": method})
    plain, paper, _ = begun(old)
    batch = {"labelled": part(6, classes=2, columns=slice(5, 7))}
    mine = learner.losses(batch)[1]
    theirs = Learner(plain, CALM, methods={"lwf": paper}).losses(batch)[1]
    assert theirs["loss"] == theirs["labelled"] + theirs["lwf"]
    torch.testing.assert_close(mine["lwf"], 3 * 5 / 7 * theirs["lwf"])
    torch.testing.assert_close(mine["loss"], 2 / 7 * mine["labelled"] + mine["lwf"])
    assert not torch.allclose(mine["loss"], 5 / 7 * mine["labelled"] + 3 * 2 / 7 * theirs["lwf"])


def test_without_an_old_task_the_cross_entropy_counts_in_full():
    _, method, _ = begun([], balance="classes", record=True)
    assert method.ce_weight == 1.0 and method.losses(None, {}, None) == {}


@pytest.mark.parametrize("scenario", ["class", "task"])
def test_options_reach_a_task(chain, scenario):
    """Each makes another model; its head begins the same."""
    others = {"t1": {}, "t2": {"record": True}, "t3": {"balance": "classes"}}
    spec = {"scenario": scenario, "training": {"steps": 4, "evaluate_every": 4}}
    with_tasks(
        chain,
        **{n: spec | {"methods": {"lwf": {"warmup_steps": 1} | o}} for n, o in others.items()},
    )
    learn_tasks(*others)
    assert len({files.sha256(chain / f"models/{n}/model.safetensors") for n in others}) == 3
