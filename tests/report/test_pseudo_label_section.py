"""What the page says of pseudo-labels: how many are right of how many known, who looks foreign, how
sure their teacher is."""

import re
from dataclasses import replace

import made_up
import pytest
from matplotlib.figure import Figure

from pipeline.labelling.confidence import Confidence
from pipeline.pages.render import environment
from pipeline.report import generations, page, plots
from pipeline.report.headline import tiles


@pytest.fixture
def made():
    experiment = made_up.experiment({"g1": "teacher", "g2": "g1"}, {}, "g2", list("abcde"))
    return made_up.results(experiment)


def words(results, section="pseudo-labels", of=generations.pseudo_labels) -> str:
    """The section as a reader sees it, without its drawings."""
    template = environment(page.TEMPLATES).get_template(f"{section}.html")
    text = re.sub(r"<svg.*?</svg>", "", template.render(section=of(results)), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split()).replace("\u202f", " ")


def with_quality(results, **changes):
    """The results with other facts of the labels of g1."""
    labels = results.quality["g1"]
    return replace(results, quality=results.quality | {"g1": replace(labels, **changes)})


def test_of_labels_that_are_all_known_the_share_right_is_told(made):
    assert "g1 teacher 50.0 % 80.0 % 25 35 75 % (50–100) 70 % (44–92) g2" in words(made)
    assert "compared with the truth" in words(made)
    assert "look foreign" not in words(made).lower()


def test_of_labels_that_are_partly_known_it_is_said_of_how_many(made):
    few = made.quality["g1"].known * 0 + [2, 1, 0, 0, 1]
    some = with_quality(made, known=few, right=few - [1, 0, 0, 0, 0])
    assert "g1 teacher 50.0 % 75.0 % of 4 25 35" in words(some)
    assert "g2 g1 50.0 % 80.0 % 25 35" in words(some)


def test_of_labels_that_nobody_knows_no_share_is_told(made):
    none = 0 * made.quality["g1"].known
    assert "g1 teacher 50.0 % not known 25 35" in words(with_quality(made, known=none, right=none))
    both = replace(
        made, quality=dict.fromkeys(["g1", "g2"], replace(made.quality["g1"], known=none))
    )
    assert "whether they are right is not known" in words(both)


def test_what_a_filter_dropped_has_a_column_of_its_own(made):
    said = words(with_quality(made, foreign_share=0.125))
    assert "of unlabelled look foreign g1" in said
    assert "70 % (44–92) 12.5 % g2 g1 50.0 % 80.0 % 25 35 75 % (50–100) 70 % (44–92) Sure:" in said


def test_a_teacher_that_doubts_the_unlabelled_images_is_told_of(made):
    assert "less sure" not in words(made)
    said = words(with_quality(made, confidence=Confidence([0.6, 0.9, 1.0], [0.3, 0.62, 0.8])))
    assert "teacher is less sure of the unlabelled images that it labelled for g1 than" in said
    assert "90 % (60–100) 62 % (30–80)" in said
    assert "g1 is less sure" not in said


@pytest.mark.parametrize(("unlabelled", "told"), [(1500, "100"), (165, "11"), (150, None)])
def test_a_crowd_is_told_of_from_ten_to_one_on(made, unlabelled, told):
    base = made.data[0]._replace(num=[15, unlabelled, 20, 30])
    said = words(replace(made, data=[base]))
    assert ("unlabelled images for each labelled one" in said) == (told is not None)
    assert told is None or f"There are {told} unlabelled images" in said


def bars(quality, names) -> dict[str, int]:
    """Images in each layer of the histogram."""
    axes = Figure().subplots()
    plots.class_histogram(axes, quality, names)
    return {c.get_label(): int(sum(bar.get_height() for bar in c)) for c in axes.containers}


def test_the_histogram_tells_right_wrong_and_not_known_apart(made):
    labels, names = made.quality["g1"], list("abcde")
    assert bars(labels, names) == {"right": 20, "wrong": 5, "repeats": 10}
    few = 0 * labels.known + 1
    some = {"right": 3, "wrong": 2, "not known": 20, "repeats": 10}
    assert bars(replace(labels, known=few, right=few * [1, 1, 1, 0, 0]), names) == some
    none = replace(labels, known=0 * few, right=0 * few)
    assert bars(none, names) == {"not known": 25, "repeats": 10}


def test_the_curve_of_what_is_right_leaves_out_whom_nobody_knows(made):
    none = 0 * made.quality["g1"].known
    some = with_quality(made, known=none, right=none).quality
    axes = Figure().subplots()
    plots.kept_and_right(axes, some)
    kept, right = axes.get_lines()
    assert list(kept.get_xdata()) == [0, 1]
    assert (list(right.get_xdata()), list(right.get_ydata())) == ([1], [80.0])
    assert right.get_label() == "right, where known"
    plots.kept_and_right(axes, made.quality)
    assert axes.get_lines()[3].get_label() == "right, of the kept"


def test_the_first_tile_counts_the_labels_that_there_are(made):
    assert tiles(made)[0].labels == "3 labels a class, 5 classes"
    base = made.data[0]._replace(labels=[3, 1, 2000, 4, 5])
    assert (
        tiles(replace(made, data=[base]))[0].labels == "2,013 labels, 1 to 2,000 a class, 5 classes"
    )


@pytest.mark.parametrize(
    ("read", "there", "said"),
    [
        (True, True, "Selection used val; test was read once, here."),
        (False, True, "Test was not read."),
        (False, False, "There are no test images."),
    ],
)
def test_the_page_says_why_there_is_no_test_accuracy(read, there, said):
    results = made_up.results(made_up.experiment({}, {}, "teacher", ["a", "b"], test=read))
    if not there:
        base = results.data[0]
        results = replace(results, data=[base._replace(num=[*base.num[:-1], 0])])
    assert f"intervals. {said} " in words(results, "accuracy", generations.accuracy)
