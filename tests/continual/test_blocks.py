"""Which logits the cross-entropy of a task's new images ranges over, and the old softmaxes."""

import pytest
import torch
from jobs import extension, learn_tasks, spy_on_fits, with_tasks

from pipeline.continual.blocks import blocks, one_hot
from pipeline.continual.extend import extend
from pipeline.continual.options import Task
from pipeline.methods.continual.lwf import LearningWithoutForgetting
from pipeline.networks import checkpoint
from stages import prepare_task

ONE, TWO = {"base": "g2", "classes": ["8"]}, {"base": "g2", "classes": ["8", "9"]}


def of(name: str, rehearses: bool = False):
    job = extension(name)
    return blocks(job.task, job.base, rehearses)


@pytest.mark.parametrize(
    ("scenario", "old"),
    [("class", [slice(0, 9)]), ("task", [slice(0, 8), slice(8, 9)])],
)
def test_a_growing_head_has_one_old_softmax_and_known_tasks_have_one_each(chain, scenario, old):
    with_tasks(chain, t1=ONE, t2={"base": "t1", "classes": ["9"]})
    learn_tasks("t1")
    prepare_task.main(["t2"])
    task = extension("t2").task.model_copy(update={"scenario": scenario})
    results = blocks(task, checkpoint.read_card("models/t1"), False)
    assert results.old == old and results.new == slice(9, 10)


@pytest.mark.parametrize(
    ("task", "ce_over", "rehearses", "trained"),
    [
        (ONE, "auto", False, slice(0, 9)),  # a softmax over one class learns nothing
        (TWO, "auto", False, slice(8, 10)),
        (TWO, "auto", True, slice(0, 10)),
        (TWO, "new", False, slice(8, 10)),
        (TWO, "new", True, slice(8, 10)),
        (TWO, "all", False, slice(0, 10)),
    ],
)
def test_the_cross_entropy_ranges_over(chain, monkeypatch, task, ce_over, rehearses, trained):
    """In a real training, by what its learner is given; `rehearses` is a method's."""
    monkeypatch.setattr(LearningWithoutForgetting, "rehearses", rehearses)
    methods = {"lwf": {"warmup_steps": 2}}
    with_tasks(chain, t1=task | {"ce_over": ce_over, "methods": methods})
    prepare_task.main(["t1"])
    assert of("t1", rehearses).trained == trained
    fits = []
    spy_on_fits(monkeypatch, lambda *given: fits.append(given))
    extend(extension())
    streams = [given["labelled"] for _, given, _ in fits]
    assert [stream.columns for stream in streams] == [trained, trained]  # the warm-up too
    assert {stream.targets.shape[1] for stream in streams} == {trained.stop - trained.start}


HEADS = {"base": ["a", "b", "c"], "t1": ["d", "e"]}


@pytest.mark.parametrize("ce_over", ["auto", "new", "all"])
@pytest.mark.parametrize(("head", "new"), [("base", slice(0, 3)), ("t1", slice(3, 5))])
def test_a_domain_is_learnt_within_its_head_unless_all_are_asked_for(head, new, ce_over):
    task = {"base": "t1", "scenario": "domain", "classes": HEADS[head], "methods": {}}
    task = Task(**task, labels_per_class=1, ce_over=ce_over)
    card = {"heads": [{"task": name, "classes": names} for name, names in HEADS.items()]}
    made = blocks(task, card, rehearses=True)
    assert (made.old, made.new) == ([slice(0, 5)], new)
    assert made.trained == (slice(0, 5) if ce_over == "all" else new)


@pytest.mark.parametrize("joint", [True, False])
def test_old_images_in_the_batch_bring_old_logits_in_unless_the_task_is_known(joint):
    """By `joint` or by a method."""
    task = {"base": "t1", "classes": ["f", "g"], "labels_per_class": 1, "methods": {}}
    card = {"heads": [{"task": name, "classes": names} for name, names in HEADS.items()]}
    by_scenario = {
        scenario: blocks(Task(**task, scenario=scenario, joint=joint), card, rehearses=not joint)
        for scenario in ("class", "task")
    }
    assert by_scenario["task"].trained == slice(5, 7)
    assert by_scenario["class"].trained == slice(0, 7)


@pytest.mark.parametrize("task", [ONE, TWO])
def test_a_single_class_is_learnt_against_the_old_ones(chain, task):
    """The new class is what its images are answered with; without the old logits in the softmax
    no weight would move."""
    recipe = {"steps": 40, "ema": 0.0, "num_ops": 0, "dropout": 0.0, "warmup_steps": 0}
    recipe |= {"weight_decay": 0.0}
    with_tasks(chain, t1=task | {"methods": {}, "training": recipe})
    learn_tasks("t1")
    job = extension()
    network, _ = checkpoint.load("models/t1")
    images = torch.from_numpy(job.dataset.array("labelled").copy())
    with torch.no_grad():
        answers = network(images).logits[:, slice(0, 9) if task is ONE else slice(8, 10)]
    assert (answers.argmax(1) >= (8 if task is ONE else 0)).float().mean() > 0.9
    before = checkpoint.load("models/g2")[0].state_dict()["heads.task_base.weight"]
    moved = not torch.equal(before, network.state_dict()["heads.task_base.weight"])
    assert moved == (task is ONE)


@pytest.mark.parametrize(("columns", "first"), [(slice(8, 10), 0), (slice(0, 10), 8)])
def test_targets_are_one_hot_rows_over_these_logits(columns, first):
    labels = torch.tensor([1, 0, 1])
    rows = one_hot(labels, first, columns)
    assert rows.shape == (3, columns.stop - columns.start)
    assert torch.equal(rows.argmax(1), labels + first)
    assert torch.equal(rows.sum(1), torch.ones(3))
