"""The contact sheet: an image's own file where it is there, else what was prepared."""

import base64
import io
import re

import numpy as np
from PIL import Image

from pipeline.suggest import page
from pipeline.suggest.table import Suggestion


def pictures(path):
    text = path.read_text(encoding="utf-8")
    data = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return text, [np.array(Image.open(io.BytesIO(base64.b64decode(one)))) for one in data]


def write(folder, names, stored):
    made = [Suggestion(name, "<b>cat</b>", 0.514, "undecided") for name in names]
    path = folder / "page" / "index.html"
    about = {"root": folder / "images", "table": folder / "s.csv", "models": ["teacher", "g1"]}
    page.write(path, made, stored, **about)
    return pictures(path)


def test_files_are_shown_in_full_and_the_rest_as_stored(tmp_path):
    (tmp_path / "images/new").mkdir(parents=True)
    Image.new("RGB", (300, 200), (10, 200, 30)).save(tmp_path / "images/new/a.png")
    (tmp_path / "images/new/broken.png").write_bytes(b"no image")
    stored = [np.full((3, 8, 8), 7, np.uint8)] * 3
    text, shown = write(tmp_path, ["new/a.png", "new/broken.png", "digits/0007"], stored)
    assert [one.shape for one in shown] == [(96, 96, 3), (8, 8, 3), (8, 8, 3)]
    assert (shown[0] == (10, 200, 30)).all() and (shown[1] == 7).all()
    assert [text.index(words) for words in ("1. a.png", "2. broken.png", "3. 0007")]


def test_answers_stand_below_and_names_are_escaped(tmp_path):
    text, _ = write(tmp_path, ["<i>.png"], [np.zeros((1, 8, 8), np.uint8)])
    assert "&lt;b&gt;cat&lt;/b&gt; 51\u202f%" in text and "undecided" in text
    assert "<b>" not in text and "<i>" not in text
    assert "teacher, g1" in text and "<script" not in text
