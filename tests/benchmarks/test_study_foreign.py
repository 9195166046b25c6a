"""The study of foreign images: whose photos are drawn, which rows it writes, what it claims."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import study_foreign as study
from pipeline.params.check import load


@pytest.fixture
def images(tmp_path, rng, monkeypatch):
    """Photos of ten classes by three colours, and numbers to match."""
    monkeypatch.setattr(study, "GIVEN", {"train": 3, "val": 13})
    monkeypatch.setattr(study, "TEST", 2)
    monkeypatch.setattr(study, "CROWD", 24)
    for split, num in {"train": 24, "test": 3}.items():
        for name in [*study.KNOWN, *study.FOREIGN]:
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(num):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "images"


def names(folder) -> dict[str, set[str]]:
    """Photos of each split."""
    return {
        split.name: {f"{p.parent.name}/{p.name}" for p in split.rglob("*.png")}
        for split in folder.iterdir()
    }


def test_a_larger_share_has_the_same_labels_and_other_strangers(images, tmp_path):
    drawn = {}
    for share in (0.0, 0.5, 1.0):
        study.link_photos(images, tmp_path / f"{share}", share, seed=3)
        drawn[share] = names(tmp_path / f"{share}")
        crowd = drawn[share]["unlabelled"]
        foreign = [name for name in crowd if name.split("/")[0] in study.FOREIGN]
        assert len(crowd) == 24 and len(foreign) == 24 * share
        assert not crowd & (drawn[share]["train"] | drawn[share]["val"])
    for split, each in {"train": 3, "val": 13, "test": 2}.items():
        assert drawn[0.0][split] == drawn[0.5][split] == drawn[1.0][split]
        assert len(drawn[0.0][split]) == 4 * each
    study.link_photos(images, tmp_path / "other", 0.0, seed=4)
    assert names(tmp_path / "other") != drawn[0.0]


def test_params_are_right_and_differ_by_the_filter_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study.files.write_json("params.yaml", study.params(7))
    params = load()
    assert {name: params.labels_of(name).ood_filter for name in study.FILTERS} == {
        name: name for name in study.FILTERS
    }
    assert (params.seed, len({g.network for g in params.generations.values()})) == (7, 1)


def test_a_row_for_each_filter_is_computed_once(images, tmp_path, monkeypatch, capsys):
    real = study.params

    def short(seed):
        values = real(seed)
        values["training"] |= {"steps": 2, "warmup_steps": 0, "evaluate_every": 2, "batch_size": 4}
        return values

    monkeypatch.setattr(study, "params", short)
    monkeypatch.setattr(study, "CSV", tmp_path / "study.csv")
    # two steps teach nothing: the labels may be of one class
    monkeypatch.setattr("stages.pseudo_label.check_collapse", lambda *_: None)
    study.run(images, [0.5], [0])
    first = study.read()
    assert [row["arm"] for row in first] == study.FILTERS
    for row in first:
        shipped = row["student" if row["student_ships"] == "1" else "supervised"]
        assert row["shipped"] == shipped and 0 <= float(row["strangers"]) <= 100
    assert [float(row["dropped"]) > 0 for row in first][0] is False
    study.run(images, [0.5], [0])
    assert study.read() == first
    monkeypatch.setattr(study, "TEST", 1)
    assert study.read() == []  # rows of other params do not count


def row(seed, arm, supervised, shipped) -> dict[str, str]:
    values = {"share": 0.5, "seed": seed, "arm": arm, "supervised": supervised, "shipped": shipped}
    values |= {"student": shipped, "student_ships": 1}
    return {key: str(value) for key, value in values.items()}


def test_claims_are_one_sided_and_seed_by_seed():
    good = [row(i, "energy", 60 + i, 60.5 + i + 0.1 * (i % 2)) for i in range(8)]
    bad = [row(i, "none", 60 + i, 57 + i + i % 2) for i in range(8)]
    lines = study.claims([*bad, *good]).splitlines()
    assert lines[2].startswith("| 50% | none | -2.50 ±") and "| no |" in lines[2]
    assert lines[2].endswith("| +0.00 ± 0.00 |") and "| +3.05 ±" in lines[3]
    assert lines[3].startswith("| 50% | energy | +0.55 ±") and "| yes |" in lines[3]
    values = np.array([0.0, 1.0, 2.0, 5.0])
    half = 2.3533634 * values.std(ddof=1) / 2  # Student's t of three degrees, one-sided 95 %
    assert study.lower_bound(values) == pytest.approx(values.mean() - half)
