"""What headers of a few images say, and their pixels."""

import numpy as np
from PIL import Image

from pipeline.proposal import sample


def save(root, name: str, width: int, height: int, mode: str = "RGB") -> str:
    Image.new(mode, (width, height), 128 if mode == "L" else (9, 8, 7)).save(root / name)
    return name


def test_the_side_is_one_that_nearly_all_images_have(tmp_path):
    paths = [save(tmp_path, f"{i}.png", 40 + i, 30) for i in range(30)]
    assert sample.headers(tmp_path, paths).side == 30
    small = save(tmp_path, "small.png", 8, 90)
    assert sample.headers(tmp_path, [*paths, small]).side == 30  # one in 31 may be smaller
    assert sample.headers(tmp_path, [*paths[:5], small]).side == 8


def _silent(path: str):
    raise EOFError


def test_kinds_sizes_and_broken_files_are_told_apart(tmp_path, monkeypatch):
    paths = [save(tmp_path, "a.png", 8, 8), save(tmp_path, "b.jpg", 8, 8, "L")]
    (tmp_path / "text.jpg").write_text("no image")
    seen = sample.headers(tmp_path, [*paths, "text.jpg", "absent.jpg"])
    assert seen.sizes == {(8, 8): 2} and seen.kinds == {"PNG RGB": 1, "JPEG L": 1}
    assert list(seen.bad) == ["text.jpg", "absent.jpg"] and seen.colour
    assert not sample.headers(tmp_path, [paths[1]]).colour
    monkeypatch.setattr(sample, "opened", _silent)
    assert sample.headers(tmp_path, paths[:1]).bad == {paths[0]: "broken"}


def test_a_sample_is_spread_over_all_files():
    assert sample.spread(list("abcdef"), 3) == ["a", "c", "e"]
    assert sample.spread(list("abc"), 9) == ["a", "b", "c"]
    many = sample.spread([str(i) for i in range(1_000_000)], 300)
    assert len(set(many)) == 300 and many[-1] == "996666"


def test_decoded_images_are_those_that_prepare_stores(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    made = sample.decoded(tmp_path, ["a.png"], 12)
    middle = pixels[:, 2:14].transpose(2, 0, 1)
    assert made.images.shape == (1, 3, 12, 12) and made.seconds > 0
    assert np.array_equal(made.images[0], middle)


def test_decoding_ends_in_time(tmp_path, monkeypatch):
    paths = [save(tmp_path, f"{i}.png", 8, 8) for i in range(5)]
    monkeypatch.setattr(sample, "SECONDS", 0.0)
    assert len(sample.decoded(tmp_path, paths, 8).images) == 1
