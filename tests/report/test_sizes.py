"""Accuracy against size: which models are shown, what a smaller one keeps."""

import re
from dataclasses import replace

import made_up
import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.pages.render import environment
from pipeline.report import page, plots, sizes
from pipeline.report.figures import canvas, svg


def made(**named):
    experiment = made_up.experiment(
        {"g1": "teacher"}, {"t1": ("g1", ["x"])}, "t1", ["a", "b"], baselines=["b1"], **named
    )
    return made_up.results(experiment, each=30)


def test_there_is_none_without_a_distilled_model_or_an_ensemble():
    assert sizes.section(made()) is None


def test_a_row_says_what_is_kept_of_the_teacher():
    results = made(distilled={"d1": "e1"}, ensembles={"e1": ("g1", "b1")})
    values = sizes.section(results)
    ensemble, student = values["rows"]
    assert (ensemble["name"], ensemble["share"], ensemble["kept"]) == ("e1", None, None)
    assert ensemble["taught_by"] == "g1 + b1" and student["taught_by"] == "e1 + kd"
    shown = {name: model.shown.accuracy for name, model in results.measured.items()}
    assert student["share"] == 71_978 / 287_912
    assert student["kept"] == pytest.approx(shown["d1"] / shown["e1"])
    assert student["accuracy"] == shown["d1"] and values["split"] == "test"
    page_text = environment(page.TEMPLATES).get_template("sizes.html").render(section=values)
    words = " ".join(re.sub(r"<[^>]*>", " ", page_text).split())
    assert "A distilled model ships where it keeps 97 % of its teacher's" in words
    assert "25.0 %" in words and "e1 + kd" in words


def test_models_of_other_classes_are_not_beside_them(monkeypatch):
    seen = {}

    def noted(axes, measured, taught):
        seen.update(names=list(measured), taught=list(taught))

    monkeypatch.setattr(plots, "sizes", noted)
    sizes.section(made(distilled={"d1": "g1"}))
    assert seen == {"names": ["teacher", "g1", "b1", "d1"], "taught": [("g1", "d1")]}


def test_a_teacher_without_a_right_answer_is_no_division():
    results = made(distilled={"d1": "g1"})
    g1 = results.measured["g1"]
    wrong = {
        split: replace(answers, labels=(answers.logits.argmax(1) + 1) % 2)
        for split, answers in g1.answers.items()
    }
    results.measured["g1"] = replace(g1, answers=wrong)
    (row,) = sizes.section(results)["rows"]
    assert row["kept"] is None


def test_every_model_stands_at_its_weights_and_accuracy():
    results = made(distilled={"d1": "g1"})
    axes = Figure().subplots()
    names = ["g1", "d1"]
    plots.sizes(axes, {name: results.measured[name] for name in names}, [("g1", "d1")])
    line = axes.lines[0].get_xydata()
    wanted = [
        [m.card["num_parameters"], 100 * m.shown.accuracy]
        for m in (results.measured[name] for name in names)
    ]
    np.testing.assert_allclose(line, wanted)
    assert [text.get_text() for text in axes.texts] == names
    assert axes.get_xscale() == "log"


def test_the_axis_of_weights_has_numbers_that_a_browser_can_show():
    """Matplotlib's own for a logarithmic axis are TeX, which this page does not set."""
    experiment = made_up.experiment({"g1": "teacher"}, {}, "d1", list("01"), distilled={"d1": "g1"})
    models = made_up.models(experiment)
    for place, model in enumerate(models.values()):
        model.card["num_parameters"] = 700 * 30**place
    figure, axes = canvas(5.6, 3.4)
    plots.sizes(axes, models, [("g1", "d1")])
    drawn = svg(figure, "sizes", "sizes").body
    assert "mathdefault" not in drawn and ">1 k<" in drawn and ">500 k<" in drawn
