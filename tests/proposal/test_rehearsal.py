"""A recipe is tried out by the code that is going to run, and leaves nothing."""

import os

import numpy as np
import pytest
from conftest import tiny_values

from pipeline.params.schema import Params
from pipeline.proposal import rehearsal, stopwatch
from pipeline.proposal.stopwatch import Moment

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(rehearsal, "SECONDS", 0.2)
    monkeypatch.setattr(rehearsal, "ANSWERED", 32)


def params(**teacher) -> Params:
    values = tiny_values()
    values["teacher"] |= teacher
    values["training"] |= {"warmup_steps": 20}
    return Params.model_validate(values)


def test_every_model_is_timed_and_no_file_is_left(tmp_path, monkeypatch, quick, capsys):
    monkeypatch.chdir(tmp_path)
    pace = rehearsal.rehearse(params(), IMAGES)
    assert list(pace.step) == ["teacher", "g1", "g2"]
    assert all(0 < seconds < 5 for seconds in (*pace.step.values(), pace.label, pace.measure))
    assert os.getcwd() == str(tmp_path) and list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_a_step_with_more_work_takes_longer(tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    alone = rehearsal.rehearse(params(), IMAGES).step["teacher"]
    both = params(methods={"fixmatch": {}}, training={"batch_size": 64})
    assert rehearsal.rehearse(both, IMAGES).step["teacher"] > 2 * alone


def test_a_fine_tuning_and_a_number_of_steps_are_not_rehearsed(tmp_path, monkeypatch, quick):
    """The tiny g2 has a fine-tuning; a training of a million steps takes no longer."""
    monkeypatch.chdir(tmp_path)
    values = tiny_values()
    values["training"] |= {"steps": 10**6, "evaluate_every": 10**5}
    many = rehearsal.rehearse(Params.model_validate(values), IMAGES)
    assert many.step["g2"] < 5


def test_the_machines_settings_are_those_of_the_project(tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINEAGE_THREADS")
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))  # else one thread is tried
    (tmp_path / "machine.yaml").write_text("threads: 2\ndevice: cpu\n")
    seen = []

    def timed(self, name, num):
        seen.append(self.settings.threads)
        return 3.0

    monkeypatch.setattr(rehearsal.Rehearsal, "_timed", timed)
    monkeypatch.setattr(rehearsal.Rehearsal, "answers", lambda *_: (1.0, 1.0))
    assert rehearsal.rehearse(params(), IMAGES).step["g1"] == 3.0 and set(seen) == {2}


def test_a_step_is_timed_after_as_many_to_warm_up(monkeypatch):
    """Three parts of four steps, an evaluation after each; the clock of the last two shows 12 s."""
    moments = []

    def learn(job):
        recipe = job.config.training
        for step in range(recipe.evaluate_every, recipe.steps + 1, recipe.evaluate_every):
            job.run.tracker.metrics({}, step)

    def seconds(first, last, device):
        return 6.0 * (moments.index(last) - moments.index(first))

    monkeypatch.setattr(rehearsal, "learn", learn)
    monkeypatch.setattr(
        rehearsal.stopwatch, "now", lambda: moments.append(len(moments)) or moments[-1]
    )
    monkeypatch.setattr(rehearsal.stopwatch, "seconds", seconds)
    tried = rehearsal.Rehearsal(params(), None, rehearsal.Machine(device="cpu"))
    assert tried._timed("teacher", 4) == 12 / 8


def test_the_clock_is_the_one_that_others_do_not_move():
    waited, two_threads = Moment(9.0, 4.0), Moment(3.0, 6.0)
    start = Moment(0.0, 0.0)
    assert stopwatch.seconds(start, waited) == 4 and stopwatch.seconds(start, two_threads) == 3
    assert stopwatch.seconds(start, Moment(9.0, 4.0), "cuda") == 9


def test_models_that_do_the_same_are_tried_once(tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    values = tiny_values()
    values["generations"]["g2"] = values["generations"]["g1"] | {"teacher": "g1"}
    values["tasks"], values["meta_pseudo_labels"], values["final"] = {}, {}, "g2"
    tried, learn = [], rehearsal.learn
    monkeypatch.setattr(rehearsal, "learn", lambda job: [tried.append(job.config.name), learn(job)])
    pace = rehearsal.rehearse(Params.model_validate(values), IMAGES)
    assert set(tried) == {"teacher", "g1"} and pace.step["g2"] == pace.step["g1"]


def test_other_methods_and_labels_of_a_teacher_are_other_work():
    values = tiny_values()
    spec = {"network": "small_cnn", "width": 0.25, "training": {"batch_size": 8}}
    values["teacher"] = spec
    values["generations"]["g1"] = spec | {"teacher": "teacher"}
    values["generations"]["g2"] = spec | {"teacher": "g1", "methods": {"fixmatch": {}}}
    tried = rehearsal.Rehearsal(Params.model_validate(values), None, None)
    assert len({str(tried._work(name)) for name in ("teacher", "g1", "g2")}) == 3


def test_labels_are_timed_as_they_are_given_and_measuring_in_full_precision(tmp_path, monkeypatch):
    ways, label = [], object()
    monkeypatch.setattr(rehearsal.checkpoint, "load", lambda *_: (None, None))
    monkeypatch.setattr(rehearsal.checkpoint, "pixels", lambda _: 64)
    monkeypatch.setattr(rehearsal.machine, "configure", lambda *_: label)
    monkeypatch.setattr(rehearsal.evaluate, "infer", lambda _, images, way: ways.append(way))
    clock = lambda *_, **__: 256.0 if ways[-1] is label else 512.0  # noqa: E731
    monkeypatch.setattr(rehearsal.stopwatch, "seconds", clock)
    settings = rehearsal.Machine(device="cpu")
    assert rehearsal.Rehearsal(None, None, settings).answers(IMAGES) == (1.0, 2.0)


@pytest.mark.parametrize(("load", "threads", "quicker"), [(9.0, 2, 1.5), (9.0, 1, 1), (0.1, 2, 1)])
def test_on_a_busy_machine_one_thread_is_timed(tmp_path, monkeypatch, load, threads, quicker):
    """Whatever the clock says; of a network that would get so many threads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINEAGE_THREADS")
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(rehearsal.machine, "cores", lambda: 4)
    monkeypatch.setattr(rehearsal.machine, "_threads", lambda work: threads)
    seen = []

    def timed(self, name, num):
        seen.append(self.settings.threads)
        if load > 2:
            rehearsal.learn(self._job(name, num, rehearsal.NullTracker()))
        return 3.0

    monkeypatch.setattr(rehearsal.Rehearsal, "_timed", timed)
    monkeypatch.setattr(rehearsal.Rehearsal, "answers", lambda *_: (1.0, 1.0))
    assert rehearsal.rehearse(params(), IMAGES).step["g1"] == 3.0 / quicker
    assert set(seen) == {1 if load > 2 else 0}
