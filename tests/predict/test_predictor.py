"""What is predicted for files is what the checkpoint's tensors, Pillow and torch say by hand, what
the report measured and what the registered model says."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from jobs import learn_tasks, with_tasks
from PIL import Image
from torch.nn import functional as F

from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.networks import checkpoint
from pipeline.networks.servable import Servable, example
from pipeline.predict import Predictor, model
from pipeline.report import measure


def write_images(folder: Path, images: np.ndarray) -> list[str]:
    """Grey images (N, 1, H, W) as files, in their order."""
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image[0]).save(folder / f"{number:04d}.png")
    return sorted(map(str, folder.iterdir()))


def unsealed(card: dict) -> dict:
    """To be written anew."""
    return {key: value for key, value in card.items() if key != "seal"}


def disguised(name: str, network: str, source: str) -> None:
    """`models/<name>`: another network, never trained, with the heads and the val images of
    `source`, and a temperature."""
    card = unsealed(checkpoint.read_card(f"models/{source}"))
    spec = card["network"] | {"name": network, "width": 1.0, "image_size": 32}
    card |= {"name": name, "network": spec, "metrics": {"temperature": 0.37}}
    torch.manual_seed(0)
    built = checkpoint.build(card)
    for layer in built.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the statistics of one pass are all
    built.train()(torch.from_numpy(tasks.dataset("base").array("val")[:64].copy()))
    checkpoint.save(f"models/{name}", built, card)


@pytest.fixture
def models(chain) -> dict[str, str]:
    """Of one task and of two, the task known and not; each also as a network of torchvision. The
    task that their images are of, where they must be told."""
    shutil.copytree("models/t1", "models/joint")
    with_tasks(chain, t1={"scenario": "task"})
    learn_tasks("t1")
    disguised("shuffled", "torchvision/shufflenet_v2_x0_5", "g1")
    disguised("shuffled-t1", "torchvision/shufflenet_v2_x0_5", "t1")
    return {"g1": "", "joint": "", "t1": "base t1", "shuffled": "", "shuffled-t1": "base t1"}


@pytest.mark.parametrize("name", ["g1", "joint", "t1", "shuffled", "shuffled-t1"])
def test_predictions_the_report_and_what_is_registered_agree_on_all_of_test(models, name):
    network, card = checkpoint.load(f"models/{name}")
    answers = measure.evaluate_split(network, card, "test", {})
    temperature = card["metrics"]["temperature"]
    assert abs(temperature - 1) > 0.01, "else this shows nothing of it"
    wanted = torch.softmax(answers.logits.double() / temperature, 1).numpy()
    registered = Servable(network, card)
    if name != "shuffled-t1":  # an export of so many layers takes seconds; `shuffled` shows it
        batch = ({0: torch.export.Dim("batch", min=1)},)
        blank = torch.from_numpy(example(card))
        registered = torch.export.export(registered, (blank,), dynamic_shapes=batch).module()
    images = answers.images[0 : len(answers.labels)]
    registered = registered(images).detach().numpy()
    start = 0
    for task in models[name].split() or [""]:
        predictor = Predictor(f"models/{name}", task)
        rows = np.flatnonzero(answers.task == task) if task else np.arange(len(images))
        columns = slice(start, start + len(predictor.classes))
        files = write_images(Path(f"test-{task}"), images.numpy()[rows])
        classes, probs = predictor(files)
        assert classes == checkpoint.classes(card)[columns] and probs.dtype == np.float32
        np.testing.assert_allclose(probs, wanted[rows, columns], atol=1e-5)
        np.testing.assert_allclose(registered[rows, columns], wanted[rows, columns], atol=1e-5)
        np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
        start = columns.stop if task else start
    assert probs.std(0).max() > 0.01, "images differ"


def test_it_is_what_pillow_and_torch_say_by_hand(finished, tmp_path, rng, monkeypatch):
    """A colour photograph for a model of grey images 8x8."""
    monkeypatch.chdir(finished)
    small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    small.resize((70, 50), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    _, probs = Predictor("models/g1")([tmp_path / "photo.png"])
    network, card = checkpoint.load("models/g1")
    with Image.open(tmp_path / "photo.png") as photo:
        middle = photo.resize((8, 8), Image.Resampling.BILINEAR, box=(10, 0, 60, 50)).convert("L")
    [mean], [std] = card["normalisation"]["mean"], card["normalisation"]["std"]
    pixels = (torch.tensor(np.asarray(middle))[None, None] / 255 - mean) / std
    with torch.no_grad():
        head = network.newest_head
        logits = F.linear(network.backbone(pixels), head.weight, head.bias)
    wanted = torch.softmax(logits / card["metrics"]["temperature"], 1)
    np.testing.assert_allclose(probs, wanted, atol=1e-5)


@pytest.fixture
def files(finished, tmp_path, monkeypatch) -> list[str]:
    """Ten test images; the working folder has models."""
    monkeypatch.chdir(finished)
    return write_images(tmp_path / "images", tasks.dataset("base").array("test")[:10])


def test_many_files_are_answered_in_order_a_part_at_a_time(files, monkeypatch):
    predictor = Predictor("models/g1")
    _, whole = predictor(files)
    monkeypatch.setattr(model.Model, "at_a_time", 3)
    parts = list(predictor.stream(files))
    assert [len(part.paths) for part in parts] == [3, 3, 3, 1]
    np.testing.assert_allclose(np.concatenate([p.probabilities for p in parts]), whole, atol=1e-6)
    assert [path for part in parts for path in part.paths] == files
    _, twice = predictor([files[4], files[2], files[4]])
    np.testing.assert_allclose(twice, whole[[4, 2, 4]], atol=1e-6)


def test_larger_images_are_fewer_at_a_time_within_the_network_or_without():
    def asked(side: int, within: int) -> int:
        card = {"image_shape": [1, side, side], "network": {"image_size": within}}
        return model.Model(card, None).at_a_time

    assert asked(8, 224) == asked(224, 8) < asked(8, 0)


def test_no_more_than_two_parts_are_decoded_ahead(files, monkeypatch):
    read, real = [], Predictor._read
    monkeypatch.setattr(Predictor, "_read", lambda s, p: read.append(p) or real(s, p))
    monkeypatch.setattr(model.Model, "at_a_time", 2)
    for number, _ in enumerate(Predictor("models/g1").stream(files), 1):
        assert len(read) <= 2 * (number + 1)
    assert sorted(read) == files


def test_files_that_cannot_be_read_are_named_at_once_and_the_others_answered(files, tmp_path):
    broken = [str(tmp_path / f"{n:02d}.png") for n in range(25)]
    for path in broken:
        Path(path).write_text("no image")
    predictor = Predictor("models/g1")
    given = [*broken[:3], *files, *broken[3:], str(tmp_path / "gone.png")]
    [part] = predictor.stream(given)
    assert part.paths == files and list(part.faults) == [*broken, given[-1]]
    np.testing.assert_allclose(part.probabilities, predictor(files)[1], atol=1e-6)
    with pytest.raises(UserError) as caught:
        predictor(given)
    lines = caught.value.lines
    assert len(lines) == 21 and lines[0].startswith(f"error: {broken[0]}: is no image")
    assert lines[-1].startswith("error: predict: 6 more files like these (26 in all)")
    with pytest.raises(UserError) as caught:
        predictor(broken[:20])
    assert len(caught.value.lines) == 20


def test_no_files_give_no_rows(files):
    classes, probs = Predictor("models/g1")([])
    assert probs.shape == (0, 8) and probs.dtype == np.float32 and len(classes) == 8


def test_a_model_is_told_the_task_where_it_must_and_not_else(models):
    said = "'t1' must be told the task of the images; fix: add --task with one of: base, t1"
    with pytest.raises(UserError, match=said):
        Predictor("models/t1")
    with pytest.raises(UserError, match="'t1' knows no task 'bas'; fix: did you mean 'base'"):
        Predictor("models/t1", task="bas")
    for name in ("g1", "joint"):
        with pytest.raises(UserError, match="answers over the classes of all its tasks"):
            Predictor(f"models/{name}", task="base")


def test_no_model_and_a_damaged_one_are_one_line(chain):
    with pytest.raises(UserError, match=r"models/nobody/card.json: no such file"):
        Predictor("models/nobody")
    weights = Path("models/g1/model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(UserError, match="sha256 differs"):
        Predictor("models/g1")


def test_a_card_without_a_temperature_is_of_a_model_as_trained(chain, tmp_path):
    files = write_images(tmp_path / "images", tasks.dataset("base").array("test")[:5])
    network, card = checkpoint.load("models/g1")
    del card["metrics"]["temperature"]
    checkpoint.save("models/old", network, unsealed(card))
    with torch.no_grad():
        images = torch.from_numpy(tasks.dataset("base").array("test")[:5].copy())
        wanted = torch.softmax(network(images).logits, 1)
    np.testing.assert_allclose(Predictor("models/old")(files)[1], wanted, atol=1e-5)
