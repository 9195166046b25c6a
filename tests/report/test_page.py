"""The report as one page: harmless whatever the names, whole without a network, whatever is off."""

import re
from collections import Counter
from html.parser import HTMLParser

import made_up
import pytest
from jinja2 import UndefinedError

from pipeline.pages.formats import between, counted, listed, percent, points, short
from pipeline.pages.render import environment
from pipeline.report import gate, page

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$x^2$ & _y_",
    'id="a" url(#b) #1d2126 -->',
    "plain",
]
VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """What a browser would see: elements, attributes, text; unbalanced tags are an error."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.text, self.open = Counter(), [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements[tag] += 1
        self.attributes += [(tag, key, value) for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, key):
        return [value for _, name, value in self.attributes if name == key]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def written(folder, monkeypatch, experiment, champion=None, **options):
    """The page of made-up models, as text."""
    monkeypatch.chdir(folder)
    results = made_up.results(experiment, champion, **options)
    if not (folder / "models").exists():
        made_up.write_curves(folder, results.measured)
    page.write(folder / "index.html", results, page.compute(results))
    return (folder / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Names that try to break out, branches, a chain of tasks and another task with a class of the
    same name, three channels, a class without images."""
    generations = {"g1": "teacher", "g2": "g1", "a1": "teacher"}
    tasks = {"t1": ("g2", ["<b>new</b>", "empty"]), "t2": ("t1", ["last"]), "s1": ("a1", ["last"])}
    smaller = {"distilled": {"d1": "g2"}, "ensembles": {"e1": ("g2", "a1")}}
    experiment = made_up.experiment(
        generations, tasks, "t2", HOSTILE, pairs={"m1": "a1"}, **smaller
    )
    with pytest.MonkeyPatch.context() as patch:
        return written(
            tmp_path_factory.mktemp("hostile"),
            patch,
            experiment,
            "<i>g1</i> stays champion",
            images=(3, 9, 7),
            absent=("empty",),
        )


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """One model, two classes, test not read."""
    experiment = made_up.experiment({}, {}, "teacher", ["cat", "dog"], test=False)
    with pytest.MonkeyPatch.context() as patch:
        return written(tmp_path_factory.mktemp("bare"), patch, experiment, each=40)


def test_names_from_data_are_text_and_nothing_else(hostile):
    seen = Reader(hostile)
    assert not {"script", "i", "iframe", "object", "link"} & set(seen.elements)
    assert not [key for _, key, _ in seen.attributes if key.startswith("on")]
    for name in [*HOSTILE, "<b>new</b>"]:
        assert name in seen.all("title"), name
        assert name in [text.strip() for text in seen.text], name
    assert "<i>g1</i> stays champion" in seen.words


def test_drawings_show_names_as_they_are(hostile):
    drawn = re.findall(r"<text [^>]*>([^<]*)</text>", hostile)
    assert "$x^2$ &amp; _y_" in drawn
    assert "&lt;script&gt;alert(1…" in drawn
    assert "#1d2126" not in re.sub(r">[^<]*<|title=\"[^\"]*\"|alt=\"[^\"]*\"", "", hostile)


def test_drawings_are_drawn_and_not_described(hostile):
    assert "Drawing(" not in hostile and 'id="tasks-t' in hostile


def test_nothing_comes_from_outside(hostile):
    seen = Reader(hostile)
    links = seen.all("href") + seen.all("xlink:href") + seen.all("src")
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "@import" not in hostile
    assert all(
        place.startswith("#") for place in re.findall(r"[^(]\burl\(([^)]*)\)", _css(hostile))
    )
    assert seen.all("http-equiv") == ["Content-Security-Policy"]
    assert "default-src 'none'" in seen.all("content")[0]


def _css(text):
    return " ".join(re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL))


def test_every_id_is_used_once_and_every_link_has_its_target(hostile):
    seen = Reader(hostile)
    ids = Counter(seen.all("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    targets = [link[1:] for link in seen.all("href") + seen.all("xlink:href") if link[0] == "#"]
    assert len(targets) > 20
    assert set(targets) <= set(ids)


def test_drawings_take_the_colour_of_the_page(hostile):
    drawings = re.findall(r"<svg[^>]*role=\"img\".*?</svg>", hostile, re.DOTALL)
    drawn = [svg for svg in drawings if 'class="graph"' not in svg]
    assert len(drawn) > 5
    assert all("currentColor" in svg for svg in drawn)
    assert not re.search(r"fill: #(fff|FFF|000)", "".join(drawn))
    assert "prefers-color-scheme: dark" in hostile


def test_all_sections_stand_and_name_every_model(hostile):
    seen = Reader(hostile)
    assert [name for name in page.SECTIONS if name not in seen.all("id")] == ["masks"]
    for model in ("teacher", "g1", "g2", "a1", "t1", "t2", "s1", "d1", "e1"):
        assert model in seen.text
    assert "Forgetting" in seen.words
    assert (
        "T was fitted on val and the model is served with it; everything is shown on test."
        in seen.words
    )


def test_the_page_states_the_rule_by_which_the_gate_decides(hostile, bare):
    for text in (hostile, bare):
        assert gate.rule("accuracy") in Reader(text).words
    assert "its parent, or any model before that in its chain" in gate.rule("accuracy")
    assert f"exact McNemar test, one-sided, p < {gate.LEVEL}" in gate.rule("accuracy")


def test_every_models_methods_stand_in_the_table(tmp_path, monkeypatch):
    methods = {"teacher": ("fixmatch",), "g1": ("uda",), "b1": (), "m1": ("uda",)}
    experiment = made_up.experiment(
        {"g1": "teacher"},
        {"t1": ("g1", ["x"])},
        "t1",
        ["a", "b"],
        pairs={"m1": "g1"},
        baselines=["b1"],
        methods=methods,
    )
    text = written(tmp_path, monkeypatch, experiment)
    table = text[text.index('<section id="accuracy">') : text.index('<section id="pseudo-labels">')]
    rows = re.findall(r"<tr><td><strong>(.*?)</strong></td><td>(.*?)</td>", table)
    assert dict(rows) == {
        "teacher": "labels + fixmatch",
        "g1": "teacher + uda",
        "m1": "g1 (meta) + uda",
        "m1-teacher": "g1 (meta)",
        "b1": "labels",
        "t1": "g1 + lwf",
    }
    assert "the best baseline on val, labels alone" in Reader(text).words


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(UndefinedError, match="absent"):
        environment(page.TEMPLATES).from_string("<p>{{ absent }}</p>").render()


def test_a_class_without_images_has_no_accuracy(hostile):
    table = hostile[hostile.index('id="classes"') :]
    row = re.search(r'<tr><th title="empty">.*?</tr>', table, re.DOTALL)[0]
    assert Reader(row).words == "empty no support – –"


def test_without_generations_tasks_and_test_their_parts_are_gone(bare):
    seen = Reader(bare)
    assert not {"pseudo-labels", "tasks"} & set(seen.all("id"))
    assert "#tasks" not in seen.all("href")
    assert "Test was not read." in seen.words and "guessing" not in seen.words
    assert "test images" not in seen.words
    assert "Shown on val: each half of it with the T fitted on the other half" in seen.words
    assert "Champion" not in seen.words


def test_equal_inputs_give_equal_bytes(tmp_path, monkeypatch, bare):
    experiment = made_up.experiment({}, {}, "teacher", ["cat", "dog"], test=False)
    assert written(tmp_path, monkeypatch, experiment, each=40) == bare


def test_a_hundred_classes_make_no_hundred_by_hundred_table(tmp_path, monkeypatch):
    classes = [f"class {i} of a long-winded data set" for i in range(100)]
    experiment = made_up.experiment({"g1": "teacher"}, {}, "g1", classes, test=False)
    text = written(tmp_path, monkeypatch, experiment, each=2)
    assert len(text) < 1_000_000
    assert Reader(text).elements["td"] < 2000
    assert "These are the 12 that g1 gets wrong most often." in Reader(text).words


def test_the_candidate_that_does_not_ship_is_named(tmp_path, monkeypatch):
    experiment = made_up.experiment({"g1": "teacher"}, {}, "g1", ["cat", "dog"], test=False)
    monkeypatch.setattr(gate, "decide", lambda *_: gate.Verdict("teacher", ["g1 is worse."]))
    text = written(tmp_path, monkeypatch, experiment, each=40)
    words = Reader(text).words
    assert "teacher ships. The candidate g1 does not." in words
    assert "g1 is worse." in words


def test_numbers_as_words():
    assert percent(0.8344) == "83.4\u202f%"
    assert percent(float("nan")) == between((float("nan"), 1)) == "–"
    assert points(-0.05) == "−5.0"
    assert [counted(1, "class"), counted(2000, "class"), counted(2, "image")] == [
        "1 class",
        "2,000 classes",
        "2 images",
    ]
    assert listed(["a", "b"]) == "a, b"
    assert listed(["aaaa", "bbbb", "cccc"], 10) == "aaaa, bbbb and 1 more"
    assert short("abcdef", 4) == "abc…"


def test_a_pair_shows_its_feedback_and_its_teacher_before_and_after(tmp_path, monkeypatch):
    experiment = made_up.experiment({"g1": "teacher"}, {}, "m1", ["cat", "dog"], pairs={"m1": "g1"})
    text = written(tmp_path, monkeypatch, experiment, unlabelled={"g1": 0.5, "m1-teacher": 0.75})
    words = Reader(text).words
    after_the_head = words.split("points more than before ")[1]
    assert after_the_head.startswith(
        "g1 teacher before loss_difference 62.5 % 50.0 % "
        "m1-teacher teacher after loss_difference 75.0 % 75.0 % +25.0 "
        "m1 student loss_difference 100.0 % not known "
    )
    assert "feedback > 0" in words
    shares = {"g1": 0.5, "m1": 0.25}
    words = Reader(written(tmp_path, monkeypatch, experiment, unlabelled=shares)).words
    assert "m1 student loss_difference 100.0 % 25.0 % −25.0 " in words
    assert 'href="#meta-pseudo-labels"' in text


def test_without_a_pair_the_page_has_no_word_of_it(bare):
    assert "Meta Pseudo Labels" not in bare


def test_the_data_say_what_has_no_support_and_what_to_know(tmp_path, monkeypatch):
    experiment = made_up.experiment({"g1": "teacher"}, {"t1": ("g1", ["x", "y"])}, "t1", ["a", "b"])
    words = Reader(written(tmp_path, monkeypatch, experiment)).words
    assert "base a, b 6 50 20 30 7 t1 x, y 6 50 20 30 7" in words
    assert "base: 3 files are odd." in words
    assert "t1: no support in test for y; the accuracy there says nothing of this class." in words
