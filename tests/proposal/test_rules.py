"""For whatever images, what is proposed is a params.yaml that passes every check."""

import re
from collections import Counter

import pytest
from conftest import ROOT

from pipeline.core.yaml_file import read
from pipeline.params.check import load
from pipeline.params.schema import Params
from pipeline.params.words import block_in
from pipeline.proposal import page, rules, said
from pipeline.proposal.facts import facts
from pipeline.proposal.ladder import LADDER, LEAST_STEPS, rungs
from pipeline.proposal.rules import Because, Recipe, plain
from pipeline.proposal.sample import Headers
from pipeline.sources.images import Found

KINDS = {"RGB": "JPEG RGB", "grey": "PNG L"}


class Sizes(dict):
    """As a counter's `total` is asked for."""

    def total(self) -> int:
        return sum(self.values())


def some(side=32, labels=300, classes=10, unlabelled=10_000, kind="RGB", held=(), per_class="all"):
    """Facts of so many images."""
    training = {f"c{i}": labels // classes for i in range(classes)}
    found = Found(training, {name: {"c0": 50} for name in held}, unlabelled)
    return facts(found, Headers(side, Sizes(), Sizes({KINDS[kind]: 1}), {}), per_class)


def where(known) -> dict:
    classes = [f"c{i}" for i in range(known.num_classes)]
    return {"source": Because("folder"), "root": Because("r"), "classes": Because(classes)}


def written(tmp_path, recipe: Recipe) -> Params:
    path = tmp_path / "params.yaml"
    path.write_text(page.text(rules.recipe_values(recipe, where(recipe.facts)), "head"))
    return load(path)


@pytest.mark.parametrize(
    ("side", "labels", "classes", "unlabelled"),
    [
        (5, 10, 2, 3),
        (8, 300, 10, 0),
        (16, 10, 2, 1_000_000),
        (28, 60_000, 10, 0),
        (40, 300, 10, 10_000),
        (224, 1_000_000, 100, 0),
        (512, 10, 2, 50),
    ],
)
def test_every_proposal_passes_the_checks(tmp_path, side, labels, classes, unlabelled):
    known = some(side, labels, classes, unlabelled)
    for rung, steps in ((rungs(side)[0], 20_000), (rungs(side)[-1], 10)):
        params = written(tmp_path, Recipe(known, rung, steps))
        assert params.data.size <= side
        assert params.learns_from_unlabelled == bool(unlabelled)
        assert params.training.steps == steps
        assert params.training.shift == max(1, params.data.size // 8)


def test_every_value_has_a_reason_in_a_sentence_and_every_required_key_is_there():
    known = some()
    values = rules.recipe_values(Recipe(known, LADDER[-1], 100), where(known))
    for key, value in values.items():
        block = block_in(Params.model_fields[key].annotation) if isinstance(value, dict) else None
        rows = value.items() if block else [(key, value)]
        for name, item in rows:
            if name not in ("source", "root", "classes", "stochastic_depth"):
                assert re.match(r"[A-Za-z0-9`].{10,}", item.why), (name, item.why)
        if block and key != "generations":
            needed = {k for k, field in block.by_key().items() if field.is_required()}
            assert needed <= set(value)


def test_grey_images_are_not_mirrored():
    for kind, mirrored in {"RGB": True, "grey": False}.items():
        known = some(kind=kind)
        values = plain(rules.recipe_values(Recipe(known, LADDER[-1], 100), where(known)))
        assert values["training"]["flip"] is mirrored
        assert ("flip" in values["labels"]["transforms"]) is mirrored


@pytest.mark.parametrize(
    ("unlabelled", "ratio"), [(1, 1), (240, 1), (480, 2), (1_200, 5), (10**6, 5)]
)
def test_a_step_has_unlabelled_images_as_there_are(tmp_path, unlabelled, ratio):
    params = written(tmp_path, Recipe(some(unlabelled=unlabelled), LADDER[-1], 100))
    assert params.training.unlabelled_ratio == params.training.unlabelled_weight == ratio
    assert params.config("teacher").training.batch_size == 64
    assert params.config("g1").training.batch_size == 32


def test_steps_end_where_images_have_been_seen_often():
    assert rules.most_steps(some(unlabelled=0)) == LEAST_STEPS
    assert rules.most_steps(some(labels=80_000, unlabelled=0)) == 100 * (80_000 - 4_000 * 2) // 64
    assert rules.most_steps(some(unlabelled=19_200 - 240)) == 100 * 19_200 // 192


def test_splits_that_the_source_brings_are_named(tmp_path):
    known = some(held=("val", "test"))
    params = written(tmp_path, Recipe(known, LADDER[-1], 100))
    assert (params.data.val, params.data.test, params.report.test) == (0.0, 0.0, True)
    assert not written(tmp_path, Recipe(some(), LADDER[-1], 100)).report.test
    params = written(tmp_path, Recipe(some(labels=10_000), LADDER[-1], 100))
    assert (params.data.val, params.data.test, params.report.test) == (0.1, 0.1, True)


def test_each_generation_goes_on_from_the_one_before_and_the_last_is_final(tmp_path):
    params = written(tmp_path, Recipe(some(), LADDER[-1], 100))
    assert [params.parent(name) for name in ("g1", "g2")] == ["teacher", "g1"]
    assert params.final == "g2" and params.generations["g1"].init == "teacher"
    for rung in LADDER[2:4]:
        made = written(tmp_path, Recipe(some(), rung, 100))
        built = [made.config(name) for name in ("teacher", "g2")]
        assert [(of.network, of.width) for of in built] == 2 * [(rung.network, rung.width)]
    assert written(tmp_path, Recipe(some(unlabelled=0), LADDER[-1], 100)).final == "teacher"


def test_labels_that_are_to_be_hidden_stay_hidden(tmp_path):
    params = written(tmp_path, Recipe(some(per_class=4), LADDER[-1], 100))
    assert params.data.labels_per_class == 4


def test_the_alternative_in_the_comment_is_one(tmp_path):
    known = some(224)
    recipe = Recipe(known, LADDER[-1], 100)
    text = page.text(rules.recipe_values(recipe, where(known)), "head")
    block = said.WITH_WEIGHTS[said.WITH_WEIGHTS.index("# teacher:") :]
    alone = re.sub(r"^# ?", "", block, flags=re.M)
    text = re.sub(r"^teacher: .*$", lambda _: alone, text, flags=re.M)
    text = re.sub(r"^generations:\n(  .*\n)*", "generations: {}\n", text, flags=re.M)
    text = re.sub(r"^final: .*$", "final: teacher", text, flags=re.M)
    (tmp_path / "params.yaml").write_text(text)
    params = load(tmp_path / "params.yaml")
    assert params.config("teacher").training.features == "frozen"
    assert params.teacher.pretrained.weights == "DEFAULT"


def test_the_page_on_recipes_names_every_rung_and_number():
    told = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    for rung in LADDER:
        network = f"`{rung.network}`" + (f" x {rung.width:g}" if rung.width != 1 else "")
        assert f"| {rung.side} | {network} | {rung.work:g} |" in told
    numbers = (LEAST_STEPS, rules.EPOCHS, rules.MOST_RATIO, rules.EVALUATIONS)
    for number in (*numbers, *rules.BATCH.values(), *rules.RATE.values()):
        assert re.search(rf"\b{number}\b", told)


def test_values_are_plain_yaml(tmp_path):
    known = some()
    values = rules.recipe_values(Recipe(known, LADDER[-1], 100), where(known))
    (tmp_path / "params.yaml").write_text(page.text(values, "head"))
    assert read(tmp_path / "params.yaml").values == plain(values)


@pytest.mark.parametrize(
    ("photos", "side", "why"),
    [
        (64, 64, "nearly all photos have 64 or more, so nothing is lost"),
        (65, 64, "nearly all photos have 65 or more, so little is lost"),
        (65, 48, "the photos have 65, more would leave time for too few steps"),
    ],
)
def test_the_size_is_explained_by_time_only_where_time_decides(photos, side, why):
    rung = next(rung for rung in LADDER if rung.side == side)
    known = some(side=photos)
    size = rules.data(Recipe(known, rung, LEAST_STEPS), where(known))["size"]
    assert size.value == side and size.why == f"pixels: {why}"


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({(20, 16): 3, (8, 9): 4}, "8x9 4, 20x16 3"),
        ({(30 + n, 40): 1 for n in range(7)}, "30x40 to 36x40, of 7 sizes"),
    ],
)
def test_sizes_are_counted_or_a_range_where_there_are_many(sizes, words):
    assert said._sizes(Counter(sizes)) == words
