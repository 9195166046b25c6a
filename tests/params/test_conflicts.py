"""Values that are allowed one by one and wrong together, or where they stand: one line each."""

import pytest
from conftest import real_values, tiny_values, write_params
from faults import (
    assert_names,
    example,
    lines_of,
    lines_with,
    set_key,
    with_generations,
    with_pair,
    with_tasks,
)

from pipeline.params.check import load

# --- a block by itself ------------------------------------------------------------------------


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (0.9, 0.2)])
def test_val_and_test_must_leave_something_to_train_on(tmp_path, val, test):
    values = example()
    values["data"] |= {"val": val, "test": test}
    (line,) = lines_of(tmp_path, values)
    assert_names(line, "data.test")
    assert "leaves nothing to train on" in line


def test_a_class_named_twice_is_refused(tmp_path):
    (line,) = lines_with(tmp_path, "data.classes", [0, 1, "0"])
    assert_names(line, "data.classes")
    assert "classes named twice: 0" in line
    (line,) = lines_with(tmp_path, "tasks.t1.classes", [8, "8"])
    assert_names(line, "tasks.t1.classes")
    assert "'8' is named twice" in line


@pytest.mark.parametrize(("key", "value"), [("size", 16), ("val", 0.0)])
def test_what_the_digits_lack_is_said_before_anything_runs(tmp_path, key, value):
    (line,) = lines_with(tmp_path, f"data.{key}", value)
    assert_names(line, f"data.{key}")
    assert "the digits" in line


@pytest.mark.parametrize("block", ["labels", "generations.g1.labels"])
def test_a_transform_named_twice_is_refused(tmp_path, block):
    (line,) = lines_with(tmp_path, f"{block}.transforms", ["flip", "flip"])
    assert_names(line, f"{block}.transforms")
    assert "'flip' is named twice" in line


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"training.steps": 40, "training.warmup_steps": 41}, "training"),
        ({"training.warmup_steps": 401}, "training"),
        ({"generations.g1.training.warmup_steps": 401}, "generations.g1.training"),
        ({"generations.g1.training.steps": 49}, "generations.g1.training"),
        ({"tasks.t1.training.steps": 49}, "tasks.t1.training"),
        ({"meta_pseudo_labels.m1.training.steps": 49}, "meta_pseudo_labels.m1.training"),
    ],
)
def test_a_warm_up_longer_than_the_training_is_refused(tmp_path, changes, key):
    """The example has 400 steps, of which 50 warm up."""
    values = example()
    for name, value in changes.items():
        set_key(values, name, value)
    (line,) = lines_of(tmp_path, values)
    assert_names(line, f"{key}.warmup_steps")
    assert "steps of warm-up, the training has" in line


def test_a_shared_block_at_fault_is_not_said_again_of_each_model_that_changes_it(tmp_path):
    values = set_key(example(), "training.warmup_steps", 401)
    for place in ("teacher", "generations.g1", "tasks.t1"):
        set_key(values, f"{place}.training", {"dropout": 0.1})
    (line,) = lines_of(tmp_path, values)
    assert_names(line, "training.warmup_steps")


def test_a_warm_up_as_long_as_the_training_is_allowed(tmp_path):
    values = set_key(example(), "generations.g1.training", {"steps": 50})
    assert load(write_params(tmp_path, values)).config("g1").training.warmup_steps == 50


@pytest.mark.parametrize("place", ["training", "teacher.training", "tasks.t1.training"])
@pytest.mark.parametrize(("key", "value"), [("cutout", 0.5), ("magnitude_std", 1.0)])
def test_noise_of_a_strong_view_that_is_off_is_refused(tmp_path, place, key, value):
    values = set_key(example(), f"{place}.{key}", value)
    load(write_params(tmp_path, values))
    (line,) = lines_of(tmp_path, set_key(values, f"{place}.num_ops", 0))
    assert_names(line, f"{place}.{key}")
    assert f"{value:g} for a strong view that num_ops: 0 switches off" in line


@pytest.mark.parametrize(
    ("spec", "key", "words"),
    [
        ({"ce_over": "new"}, "ce_over", "over a single new class is always 0; fix: use all"),
        ({"scenario": "task"}, "classes", "a single class is the only answer where the task is"),
    ],
)
def test_a_task_of_one_class_that_could_learn_nothing_is_refused(tmp_path, spec, key, words):
    (line,) = lines_of(tmp_path, with_tasks(t1={"classes": [8]} | spec))
    assert_names(line, f"tasks.t1.{key}")
    assert words in line
    load(write_params(tmp_path, with_tasks(t1=spec)))  # of two classes
    load(write_params(tmp_path, with_tasks(t1={"classes": [8]})))


@pytest.mark.parametrize(
    ("place", "spec"),
    [
        ("tasks.t1", {"scenario": "both"}),
        ("tasks.t1", {"labels_per_class": 0}),
        ("tasks.t1", {"training": {"steps": 0}}),
    ],
)
def test_a_fault_of_a_block_does_not_hide_those_inside_it(tmp_path, place, spec):
    methods = {"uda": {}, "fixmatch": {}}
    lines = lines_of(tmp_path, with_tasks(t1=spec | {"methods": methods}))
    assert len(lines) == 2 and f"({place}.methods.fixmatch)" in lines[1]


# --- a model where it stands ------------------------------------------------------------------


def test_stochastic_depth_needs_residual_blocks(tmp_path):
    values = real_values()
    values["training"]["stochastic_depth"] = 0.2
    values["generations"]["g1"] |= {"network": "torchvision/resnet18"}
    values["generations"]["g2"] |= {"training": {"stochastic_depth": 0.0}}
    values["generations"]["g3"] = {"teacher": "g2", "network": "small_cnn"}
    lines = lines_of(tmp_path, values)
    for line, model in zip(lines, ["teacher", "generations.g3", "tasks.t1"], strict=True):
        assert_names(line, f"{model}.network")
        assert "has no residual blocks for stochastic_depth 0.2; fix: set it to 0" in line


@pytest.mark.parametrize("key", ["teacher", "generations.g1", "baselines.b1"])
def test_torchvisions_networks_have_one_width(tmp_path, key):
    values = tiny_values()  # where every model comes from the teacher or g1
    name = "torchvision/vgg16_bn"
    set_key(values, f"{key}.network", name)
    (line,) = lines_of(tmp_path, set_key(values, f"{key}.width", 0.5))
    assert_names(line, f"{key}.width")
    assert f"'{name}' has one width; fix: set it to 1" in line
    load(write_params(tmp_path, set_key(values, f"{key}.width", 1)))


@pytest.mark.parametrize("train", ["fc", "new_head"])
@pytest.mark.parametrize(
    "place", ["teacher", "generations.g1", "meta_pseudo_labels.m1", "baselines.b1"]
)
def test_random_weights_that_would_stay_are_refused(tmp_path, train, place):
    values = example()
    values["teacher"].pop("pretrained")
    set_key(values, f"{place}.training.train", train)
    (line,) = lines_of(tmp_path, values)
    assert_names(line, f"{place}.training.train")
    assert f"'{train}' leaves random weights of '{place.split('.')[-1]}' as they are" in line
    given = {"file": "weights.pth", "sha256": 64 * "0"}
    load(write_params(tmp_path, set_key(values, f"{place}.pretrained", given)))


@pytest.mark.parametrize("train", ["fc", "new_head"])
def test_weights_of_a_teacher_or_a_base_may_stay(tmp_path, train):
    values = with_tasks(t1={"training": {"train": train}})
    values["generations"]["g1"] |= {"init": "teacher", "training": {"train": train}}
    load(write_params(tmp_path, values))


@pytest.mark.parametrize("change", [{"network": "wide_cnn"}, {"width": 0.5}])
def test_a_student_begins_with_its_teachers_weights_only_if_they_fit(tmp_path, change):
    values = with_generations(g1="teacher", g2="g1")
    values["generations"]["g2"]["init"] = "teacher"
    assert load(write_params(tmp_path, values)).generations["g2"].init == "teacher"
    values["generations"]["g2"] |= change
    (line,) = lines_of(tmp_path, values)
    assert_names(line, "generations.g2.init")
    assert "'g2' is another network than its teacher 'g1'" in line


@pytest.mark.parametrize("place", ["generations.g2", "meta_pseudo_labels.m1"])
def test_a_student_begins_with_one_set_of_weights(tmp_path, place):
    values = set_key(example(), f"{place}.init", "teacher")
    given = {"file": "weights.pth", "sha256": 64 * "0"}
    (line,) = lines_of(tmp_path, set_key(values, f"{place}.pretrained", given))
    assert_names(line, f"{place}.pretrained")
    assert "cannot begin with a file's weights and with its teacher's" in line


def test_a_task_keeps_the_resolution_of_its_base(tmp_path):
    (line,) = lines_with(tmp_path, "tasks.t1.training.image_size", 16)
    assert_names(line, "tasks.t1.training.image_size")
    assert "a task keeps the resolution of its base 'g2'" in line


@pytest.mark.parametrize("place", ["teacher", "meta_pseudo_labels.m1", "baselines.b1", "tasks.t1"])
def test_a_weight_of_pseudo_labels_is_refused_where_there_are_none(tmp_path, place):
    (line,) = lines_with(tmp_path, f"{place}.training.unlabelled_weight", 0.5)
    assert_names(line, f"{place}.training.unlabelled_weight")
    assert "has no teacher's pseudo-labels to weigh; fix: leave it out" in line
    values = set_key(example(), "generations.g1.training.unlabelled_weight", 0.5)
    assert load(write_params(tmp_path, values)).config("g1").training.unlabelled_weight == 0.5


# --- behind a calibrator ----------------------------------------------------------------------


def with_calibrated(block: str, name: str, spec: dict) -> dict:
    """Two pairs, of which `m2-teacher` has a calibrator from `m1-teacher`, and a model more."""
    values = with_pair(reduced=True)
    values["meta_pseudo_labels"]["m2"] = {"teacher": "m1-teacher"}
    values[block][name] = spec
    return values


@pytest.mark.parametrize("parent", ["m1-teacher", "m2-teacher"])
@pytest.mark.parametrize(
    ("block", "key", "words"),
    [
        ("tasks", "base", "has a calibrator, which knows no more classes; fix: extend the student"),
        ("generations", "init", "has a calibrator, which 'n1' has not; fix: leave out `init`"),
        ("meta_pseudo_labels", "teacher", "has a calibrator already; fix: name 'g1'"),
    ],
)
def test_what_a_calibrated_teacher_cannot_do_is_one_line(tmp_path, block, key, words, parent):
    task = {"scenario": "class", "classes": [8, 9], "labels_per_class": 3, "methods": {}}
    task["data"] = {"root": "data/digits"}
    spec = {
        "tasks": task | {"base": parent},
        "generations": {"teacher": parent, "network": "small_cnn", "init": "teacher"},
        "meta_pseudo_labels": {"teacher": parent, "reduced": True},
    }[block]
    (line,) = lines_of(tmp_path, with_calibrated(block, "n1", spec))
    assert_names(line, f"{block}.n1.{key}")
    assert f"'{parent}' {words}" in line


def test_a_calibrated_teacher_may_teach_and_its_student_be_extended(tmp_path):
    spec = {"teacher": "m2-teacher", "network": "small_cnn"}
    values = with_calibrated("generations", "n1", spec)
    values["tasks"]["t1"]["base"] = "m1"
    params = load(write_params(tmp_path, values))
    calibrated = [name for name in params.places() if params.config(name).calibrated]
    assert calibrated == ["m1-teacher", "m2-teacher"]


# --- frozen features --------------------------------------------------------------------------

FROZEN = {"features": "frozen"}
BEGUN = {"pretrained": {"file": "w.pth", "sha256": 64 * "0"}}


def with_frozen(name: str, block: str = "", **spec) -> dict:
    """The tiny params, with a model of frozen features that has these keys besides."""
    values = tiny_values()
    model = values[block][name] if block else values[name]
    model.pop("fine_tune", None)
    model |= spec | {"training": FROZEN | spec.get("training", {})}
    return values


@pytest.mark.parametrize(
    ("name", "block", "spec"),
    [
        ("teacher", "", BEGUN),
        ("g1", "generations", {"init": "teacher"}),
        ("b1", "baselines", BEGUN | {"methods": {}}),
        ("t1", "tasks", {"methods": {}}),
        ("teacher", "", BEGUN | {"training": {"num_ops": 0, "shift": 0, "train": "new_head"}}),
    ],
)
def test_frozen_features_go_with_labels_and_pseudo_labels(tmp_path, name, block, spec):
    load(write_params(tmp_path, with_frozen(name, block, **spec)))


@pytest.mark.parametrize(
    ("name", "block", "spec", "key", "what"),
    [
        ("teacher", "", {}, "training.features", "the random features of 'teacher' say little"),
        ("g1", "generations", {}, "training.features", "the random features of 'g1' say little"),
        ("m1", "meta_pseudo_labels", {"init": "teacher"}, "training.features", "on views of ima"),
        ("b1", "baselines", BEGUN, "methods.fixmatch", "fixmatch looks at views of images"),
        ("t1", "tasks", {}, "methods.lwf", "lwf looks at views of images"),
        (
            "teacher",
            "",
            BEGUN | {"fine_tune": {"steps": 1, "learning_rate": 0.1, "image_size": 0}},
            "fine_tune",
            "trains the whole network",
        ),
        ("teacher", "", BEGUN | {"training": {"train": "fc"}}, "training.train", "of the backbone"),
        *(
            ("t1", "tasks", {"methods": {}, "training": {key: value}}, f"training.{key}", "none of")
            for key, value in {
                "shift": 1,
                "num_ops": 1,
                "cutout": 0.5,
                "magnitude_std": 0.5,
                "batch_norm": "separate",
            }.items()
        ),
    ],
)
def test_what_frozen_features_cannot_go_with_is_refused(tmp_path, name, block, spec, key, what):
    (line,) = lines_of(tmp_path, with_frozen(name, block, **spec))
    assert_names(line, f"{block}.{name}.{key}".lstrip("."))
    assert what in line


@pytest.mark.parametrize(("t2", "num"), [({}, 10), ({"base": "t1", "classes": ["a", "b"]}, 12)])
def test_a_memory_has_room_for_an_image_of_each_class(tmp_path, t2, num):
    """Of all that the chain has learnt by then; with just as many it is right."""
    for memory in (num - 1, num):
        tasks = {"t1": {}, "t2": t2 | {"methods": {"replay": {"memory": memory}}}}
        values = with_tasks(**tasks)
        if memory == num:
            load(write_params(tmp_path, values))
            continue
        (line,) = lines_of(tmp_path, values)
        assert f"(tasks.t2.methods.replay.memory): {memory} images are not one of each" in line
        assert line.endswith(f"raise it to {num} or more")


@pytest.mark.parametrize(("size", "wrong"), [(32, True), (16, False), (0, False), (None, False)])
def test_a_task_has_images_of_the_base_tasks_size(tmp_path, size, wrong):
    """Where both are stated; else their sources know."""
    values = with_tasks(t1={})
    values["data"] |= {"source": "folder", "size": 16}
    values["tasks"]["t1"]["data"] = {"root": "other"} | ({} if size is None else {"size": size})
    if not wrong:
        load(write_params(tmp_path, values))
        return
    (line,) = lines_of(tmp_path, values)
    assert_names(line, "tasks.t1.data.size")
    assert "32 is not the size of the base task's images, 16; fix: leave it out" in line
