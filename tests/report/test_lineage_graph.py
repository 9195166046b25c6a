"""The lineage drawn: every model stands somewhere, nothing lies on anything else."""

import random
import re

import made_up
import pytest

from pipeline.pages.render import environment
from pipeline.report import lineage, page
from pipeline.report.lineage import GAP_ACROSS, HEIGHT, Place, places


def test_a_chain_goes_straight():
    parents = {"teacher": None, "g1": "teacher", "g2": "g1"}
    placed = places(parents, list(parents))
    assert placed == {name: Place(i, 0) for i, name in enumerate(parents)}


def test_branches_take_the_nearest_free_lane_and_the_main_chain_the_first():
    parents = {"a": None, "side": "a", "b": "a", "c": "b", "late": "c", "d": "c", "lone": None}
    placed = places(parents, ["a", "b", "c", "d"])
    assert [placed[name].lane for name in "abcd"] == [0] * 4
    assert placed["side"] == Place(1, 1)
    assert placed["late"] == Place(3, 1)
    assert placed["lone"] == Place(0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_no_box_on_another_and_no_arrow_through_one(seed):
    rng = random.Random(seed)
    parents: dict = {"m0": None}
    for i in range(1, 20):
        parents[f"m{i}"] = rng.choice([*parents, None])
    placed = places(parents, ["m0"])
    assert set(placed) == set(parents)
    assert len(set(placed.values())) == len(placed)
    for name, parent in parents.items():
        if parent:
            assert placed[name].depth == placed[parent].depth + 1
    # arrows run in the gap behind a depth, from the parent's lane to its last child's: two
    # families there must not share a lane
    families: dict = {}
    for name, parent in parents.items():
        if parent:
            lanes = families.setdefault((placed[name].depth, parent), [placed[parent].lane])
            lanes.append(placed[name].lane)
    spans = sorted((depth, min(lanes), max(lanes)) for (depth, _), lanes in families.items())
    for (depth, _, last), (other, first, _) in zip(spans, spans[1:]):
        assert depth != other or last < first


def graphs(experiment, **options) -> list[str]:
    """The drawings of made-up models, as the template has them."""
    values = lineage.section(made_up.results(experiment, **options))
    text = environment(page.TEMPLATES).get_template("lineage.html").render(section=values)
    return re.findall(r"<svg.*?</svg>", text, re.DOTALL)


def test_boxes_carry_accuracy_and_the_one_that_ships_is_marked():
    experiment = made_up.experiment(
        {"g1": "teacher", "g2": "teacher"}, {"t1": ("g1", ["x"])}, "t1", ["a", "b"]
    )
    results = made_up.results(experiment)
    across, down = graphs(experiment)
    for graph in (across, down):
        assert graph.count('class="box"') == 4
        assert graph.count(">ships<") == 1
        assert graph.count('class="arrow task"') == 1
        assert "Lineage: teacher to g1, teacher to g2, g1 to t1" in graph
        for model in results.measured.values():
            assert f"{100 * model.answers['test'].accuracy:.1f}\u202f%" in graph
    ships = re.search(r'<g class="model ships".*?</g>', across, re.DOTALL)[0]
    assert f">{results.ships}<" in ships
    assert f'height="{2 * HEIGHT + GAP_ACROSS + 12}"' in across


def test_boxes_name_the_methods_of_every_model():
    methods = {"teacher": ("fixmatch",), "g1": ("uda", "lwf"), "b1": ("pseudo_label",), "t2": ()}
    experiment = made_up.experiment(
        {"g1": "teacher"},
        {"t1": ("g1", ["x"]), "t2": ("g1", ["y"])},
        "t1",
        ["a"],
        baselines=["b1"],
        methods=methods,
    )
    for graph in graphs(experiment):
        shown = re.findall(r'class="methods">([^<]*)<', graph)
        assert sorted(shown) == ["fine-tuning", "fixmatch", "lwf", "pseudo_label", "uda + lwf"]
        assert ">+ x<" in graph
        assert ">baseline from labels<" in graph


def test_twenty_models_are_drawn_downwards_only():
    generations = {f"g{i}": "teacher" if i == 1 else f"g{i - 1}" for i in range(1, 20)}
    (down,) = graphs(made_up.experiment(generations, {}, "g19", ["a", "b"], test=False))
    assert down.count('class="box"') == 20


def test_an_ensembles_box_names_its_members():
    experiment = made_up.experiment(
        {"g1": "teacher"},
        {},
        "d1",
        ["a", "b"],
        baselines=["b1"],
        ensembles={"e1": ("g1", "b1")},
        distilled={"d1": "e1"},
    )
    for graph in graphs(experiment):
        assert ">g1 and b1, one answer<" in graph and ">learns from e1<" in graph
        assert "g1 to e1, b1 to e1, e1 to d1" in graph
