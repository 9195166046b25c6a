"""The lineage drawn: every model stands somewhere, nothing lies on anything else."""

import random
import re

import made_up
import pytest

from pipeline.report import lineage
from pipeline.report.lineage import GAP_ACROSS, HEIGHT, Place, places


def test_a_chain_goes_straight():
    parents = {"teacher": None, "g1": "teacher", "g2": "g1"}
    found = places(parents, list(parents))
    assert found == {name: Place(i, 0) for i, name in enumerate(parents)}


def test_branches_take_the_nearest_free_lane_and_the_main_chain_the_first():
    parents = {"a": None, "side": "a", "b": "a", "c": "b", "late": "c", "d": "c", "lone": None}
    found = places(parents, ["a", "b", "c", "d"])
    assert [found[name].lane for name in "abcd"] == [0] * 4
    assert found["side"] == Place(1, 1)
    assert found["late"] == Place(3, 1)
    assert found["lone"] == Place(0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_no_box_on_another_and_no_arrow_through_one(seed):
    rng = random.Random(seed)
    parents: dict = {"m0": None}
    for i in range(1, 20):
        parents[f"m{i}"] = rng.choice([*parents, None])
    found = places(parents, ["m0"])
    assert set(found) == set(parents)
    assert len(set(found.values())) == len(found)
    for name, parent in parents.items():
        if parent:
            assert found[name].depth == found[parent].depth + 1
    # arrows run in the gap behind a depth, from the parent's lane to its last child's: two
    # families there must not share a lane
    families: dict = {}
    for name, parent in parents.items():
        if parent:
            lanes = families.setdefault((found[name].depth, parent), [found[parent].lane])
            lanes.append(found[name].lane)
    spans = sorted((depth, min(lanes), max(lanes)) for (depth, _), lanes in families.items())
    for (depth, _, last), (other, first, _) in zip(spans, spans[1:]):
        assert depth != other or last < first


def test_boxes_carry_accuracy_and_the_one_that_ships_is_marked():
    params = made_up.params(
        {"g1": "teacher", "b1": "teacher"}, {"t1": ("g1", ["x"])}, "t1", ["a", "b"]
    )
    measured = made_up.models(params)
    drawn = lineage.drawn(params, measured, made_up.quality(params), "g1")
    across, down = re.findall(r"<svg.*?</svg>", drawn)
    for graph in (across, down):
        assert graph.count('class="box"') == 4
        assert graph.count(">ships<") == 1
        assert graph.count('class="arrow task"') == 1
        assert "Lineage: teacher to g1, teacher to b1, g1 to t1" in graph
        for model in measured.values():
            assert f"{100 * model.seen['test'].accuracy:.1f}\u202f%" in graph
    ships = re.search(r'<g class="model ships">.*?</g>', across)[0]
    assert ">g1<" in ships
    assert f'height="{2 * HEIGHT + GAP_ACROSS + 12}"' in across


def test_twenty_models_are_drawn_downwards_only():
    generations = {f"g{i}": "teacher" if i == 1 else f"g{i - 1}" for i in range(1, 20)}
    params = made_up.params(generations, {}, "g19", ["a", "b"], test=False)
    drawn = lineage.drawn(params, made_up.models(params), {}, "g19")
    assert drawn.count("<svg") == 1
    assert drawn.count('class="box"') == 20
