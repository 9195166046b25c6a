"""torchvision's own classes read small files that are laid out as the published ones."""

import json
import os
import pickle
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from torchvision import datasets
from torchvision.datasets import cifar, flowers102, stl10, svhn

from pipeline.core.errors import UserError
from pipeline.sources import SOURCES
from pipeline.sources import torchvision as source
from pipeline.sources.images import Images, Wanted
from pipeline.sources.options import Data

NUM = {"train": 6, "val": 4, "test": 3, "unlabeled": 5}
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> None:
    """A folder to work in, files that any checksum fits, and no network."""

    def no_network(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for module in (cifar, flowers102, stl10, svhn):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: os.path.isfile(path))


def pixels(num: int, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, (num, *shape), dtype=np.uint8)


def jpeg(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(9, 11, 3)).save(path)


def text(path: str, words: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(words)


# --- each data set's files: what was written is (split, image (C, H, W), class) -----------------


def write_cifar(folder: str, parts: dict, meta: str, labels: str, names: list[str]) -> list:
    made = []
    Path(folder).mkdir()
    for split, files in parts.items():
        for name in files:
            image, label = pixels(2, 3, 32, 32), rng.integers(0, len(names), 2).tolist()
            entry = {"data": image.reshape(2, -1), labels: label}
            Path(folder, name).write_bytes(pickle.dumps(entry))
            made += [(split, one, names[c]) for one, c in zip(image, label)]
    key = "label_names" if meta == "batches.meta" else "fine_label_names"
    Path(folder, meta).write_bytes(pickle.dumps({key: names}))
    return made


def cifar10() -> list:
    parts = {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]}
    return write_cifar("cifar-10-batches-py", parts, "batches.meta", "labels", list("abcdefghij"))


def cifar100() -> list:
    parts = {"train": ["train"], "test": ["test"]}
    names = [f"c{number:02d}" for number in range(100)]
    return write_cifar("cifar-100-python", parts, "meta", "fine_labels", names)


def svhn_digits() -> list:
    from scipy.io import savemat

    made = []
    for split in ("train", "test"):
        image, label = pixels(NUM[split], 3, 32, 32), rng.integers(1, 11, NUM[split])
        savemat(f"{split}_32x32.mat", {"X": image.transpose(2, 3, 1, 0), "y": label[:, None]})
        made += [(split, one, str(c % 10)) for one, c in zip(image, label)]
    return made


def stl() -> list:
    made, names = [], ["airplane", "bird", "car", "cat", "deer"]
    Path("stl10_binary").mkdir()
    text("stl10_binary/class_names.txt", "\n".join(names))
    for split in ("train", "test", "unlabeled"):
        image, label = pixels(NUM[split], 3, 96, 96), rng.integers(1, 6, NUM[split])
        Path(f"stl10_binary/{split}_X.bin").write_bytes(image.transpose(0, 1, 3, 2).tobytes())
        Path(f"stl10_binary/{split}_y.bin").write_bytes(label.astype(np.uint8).tobytes())
        known = split != "unlabeled"
        given = split if known else "train"
        made += [(given, one, names[c - 1] if known else "") for one, c in zip(image, label)]
    return made


def mnist_like(name: str, names: list[str]) -> list:
    made = []
    folder = Path(name, "raw")
    folder.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        image, label = pixels(NUM[split], 28, 28), rng.integers(0, 10, NUM[split])
        head = struct.pack(">IIII", 0x803, NUM[split], 28, 28)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + image.tobytes())
        head = struct.pack(">II", 0x801, NUM[split])
        whole = head + label.astype(np.uint8).tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(whole)
        made += [(split, one[None], names[c]) for one, c in zip(image, label)]
    return made


def flowers() -> list:
    from scipy.io import savemat

    splits = {"train": [3, 1], "val": [2, 6], "test": [5, 4]}
    label = np.array([7, 102, 1, 7, 9, 1])
    Path("flowers-102").mkdir()
    names = {"train": "trnid", "val": "valid", "test": "tstid"}
    savemat("flowers-102/setid.mat", {names[s]: numbers for s, numbers in splits.items()})
    savemat("flowers-102/imagelabels.mat", {"labels": label})
    return [
        (split, f"flowers-102/jpg/image_{n:05d}.jpg", datasets.Flowers102.classes[label[n - 1] - 1])
        for split, numbers in splits.items()
        for n in numbers
    ]


def food() -> list:
    parts = {"train": {"pie": ["pie/1", "pie/2"], "soup": ["soup/3"]}, "test": {"pie": ["pie/4"]}}
    parts["test"]["soup"] = []
    made = []
    for split, metadata in parts.items():
        text(f"food-101/meta/{split}.json", json.dumps(metadata))
        for name, paths in metadata.items():
            made += [(split, f"food-101/images/{path}.jpg", name) for path in paths]
    return made


def dtd() -> list:
    made = []
    for number, split in enumerate(("train", "val", "test")):
        names = [f"{name}/{name}_{number}.jpg" for name in ("banded", "dotted")]
        text(f"dtd/dtd/labels/{split}1.txt", "\n".join(names))
        made += [(split, f"dtd/dtd/images/{name}", name.split("/")[0]) for name in names]
    return made


def eurosat() -> list:
    return [("", f"eurosat/2750/{name}/{name}_1.jpg", name) for name in ("Forest", "River")]


def aircraft() -> list:
    made = []
    text("fgvc-aircraft-2013b/data/variants.txt", "A 310\nBoeing 747\n")
    for number, split in enumerate(("train", "val", "test")):
        lines = f"00{number} A 310\n01{number} Boeing 747\n"
        text(f"fgvc-aircraft-2013b/data/images_variant_{split}.txt", lines)
        for line in lines.splitlines():
            name, label = line.split(" ", 1)
            made.append((split, f"fgvc-aircraft-2013b/data/images/{name}.jpg", label))
    return made


FILES = {
    "torchvision/cifar10": cifar10,
    "torchvision/cifar100": cifar100,
    "torchvision/svhn": svhn_digits,
    "torchvision/stl10": stl,
    "torchvision/mnist": lambda: mnist_like("MNIST", list("0123456789")),
    "torchvision/fashion_mnist": lambda: mnist_like("FashionMNIST", datasets.FashionMNIST.classes),
    "torchvision/kmnist": lambda: mnist_like("KMNIST", datasets.KMNIST.classes),
    "torchvision/flowers102": flowers,
    "torchvision/food101": food,
    "torchvision/dtd": dtd,
    "torchvision/eurosat": eurosat,
    "torchvision/fgvc_aircraft": aircraft,
}


def block(name: str, **changes) -> Data:
    values = {"source": name, "root": ".", "classes": ["a", "b"], "labels_per_class": "all"}
    return Data.model_validate(values | {"val": 0.2, "test": 0, "seed": 0} | changes)


def read(name: str, classes: list[str], **changes) -> Images:
    return SOURCES[name].read(block(name, **changes), Wanted(classes, frozenset(classes)))


def test_every_data_set_has_its_files_here():
    assert set(FILES) == set(source.SOURCES) == {n for n in SOURCES if n.startswith("torchvision/")}


def test_the_page_on_data_has_every_name():
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    assert all(f"`{name.removeprefix('torchvision/')}`" in page for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_images_come_with_their_classes_and_splits(name):
    made = FILES[name]()
    for _, image, _ in made:
        if isinstance(image, str):
            jpeg(image)
    images = read(name, sorted({label for *_, label in made} - {""}), size=8)
    found = []
    for row, label, given in zip(images.row, images.label, images.given.tolist()):
        found.append((given, images.image[row], images.classes[label] if label >= 0 else ""))
    assert [(given, label) for given, _, label in found] == [(g, label) for g, _, label in made]
    assert images.brings == {given for given, *_ in made} & {"val", "test"}
    assert images.image.shape[2:] == (8, 8)
    assert len(set(images.path)) == len(images.path)
    if not isinstance(made[0][1], str):
        whole = read(name, images.classes[:2], size=0)
        for (_, image, _), one in zip(made, whole.image[whole.row]):
            assert np.array_equal(image, one)
    else:
        assert images.path == [path for _, path, _ in made]


def test_images_of_files_are_only_those_of_the_classes_wanted():
    for _, path, _ in dtd():
        jpeg(path)
    images = read("torchvision/dtd", ["dotted"], size=8)
    assert {Path(path).parent.name for path in images.path} == {"dotted"}
    assert images.brings == {"val", "test"} and images.classes == ["banded", "dotted"]


def test_images_of_several_sizes_need_a_size():
    [fault] = block("torchvision/food101").faults()
    assert fault.key == "size" and "are of several sizes" in fault.what
    assert not list(block("torchvision/food101", size=64).faults())
    assert not list(block("torchvision/cifar10").faults())
    [fault] = block("torchvision/cifar10", on_bad_image="skip").faults()
    assert fault.key == "on_bad_image"


def test_a_class_that_is_not_there_is_one_line():
    mnist_like("KMNIST", datasets.KMNIST.classes)
    with pytest.raises(UserError, match="data.classes: no class is called 'kii'; .* 'ki'"):
        read("torchvision/kmnist", ["o", "kii"])
    dtd()
    with pytest.raises(UserError, match="data.classes: no class is called 'dottd'; .* 'dotted'"):
        read("torchvision/dtd", ["dottd"], size=8)


@pytest.mark.parametrize("name", FILES)
def test_without_files_and_network_one_line_says_what_to_put_where(name, tmp_path):
    known = source.SOURCES[name]
    socket.setdefaulttimeout(99)
    with pytest.raises(UserError) as caught:
        read(name, ["a"], root=str(tmp_path), size=8)
    after = socket.getdefaulttimeout()
    socket.setdefaulttimeout(None)
    [line] = caught.value.lines
    assert line.startswith(f"error: {tmp_path}: torchvision has no {known.name} there and cannot")
    assert "Name or service not known" in line
    below = tmp_path if known.below == "." else tmp_path / known.below
    assert line.endswith(f"put {known.files} into {below} by hand, or run with a network")
    assert after == 99


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10", "mnist", "svhn"])
def test_files_are_named_as_torchvision_names_them(name):
    known = source.SOURCES[f"torchvision/{name}"]
    theirs = getattr(datasets, known.name)
    names = {
        "mnist": lambda: [name for name, _ in theirs.resources],
        "svhn": lambda: [theirs.split_list[split][1] for split in ("train", "test")],
    }.get(name, lambda: [theirs.filename])()
    ours = {
        source.MNIST: [
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        ],
        "{train,test}_32x32.mat": ["train_32x32.mat", "test_32x32.mat"],
    }.get(known.files, [known.files])
    assert ours == names


def test_files_that_are_broken_are_one_line():
    mnist_like("KMNIST", datasets.KMNIST.classes)
    Path("KMNIST/raw/train-images-idx3-ubyte").write_bytes(b"nothing")
    with pytest.raises(UserError, match="torchvision has no KMNIST there and cannot get it"):
        read("torchvision/kmnist", ["o", "ki"])


def test_what_is_not_there_is_downloaded(monkeypatch, tmp_path):
    asked = []

    class Fake(datasets.KMNIST):
        def download(self):
            asked.append(self.root)
            mnist_like("Fake", datasets.KMNIST.classes)

    monkeypatch.setattr(datasets, "KMNIST", Fake)
    images = read("torchvision/kmnist", ["o", "ki"])
    assert len(images.label) == 9 and len(asked) == 1
