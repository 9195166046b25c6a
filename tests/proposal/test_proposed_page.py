"""A params.yaml with reasons is read back as it was meant."""

from pipeline.core.yaml_file import read
from pipeline.proposal import page
from pipeline.proposal.rules import Because

ODD = ["yes", "No", "0", "1e3", "a b", "a: b", "a #b", "- a", "{x}", "[y]", "ü ß", '"q"', "it's"]
ODD += [
    "~",
    "null",
    "true",
    " lead",
    "trail ",
    "a\\b",
    "a\tb",
    "<script>",
    "a,b",
    "NaN",
    ".inf",
    "=",
]


def test_values_and_reasons_come_back(tmp_path):
    long = "a reason that is too long for the rest of the line and therefore stands " * 2
    values = {
        "seed": Because(0, "none"),
        "block": {
            "names": Because(ODD, long),
            "rate": Because(5e-4, "small"),
            "on": Because(True),
            "model": Because({"methods": {"fixmatch": {}}, "width": 0.25}, long),
        },
        "none": Because({}, "empty"),
    }
    path = tmp_path / "params.yaml"
    path.write_text(page.text(values, "head\nof two lines"), encoding="utf-8")
    assert read(path).values == {
        "seed": 0,
        "block": {
            "names": ODD,
            "rate": 5e-4,
            "on": True,
            "model": {"methods": {"fixmatch": {}}, "width": 0.25},
        },
        "none": {},
    }
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["# head", "# of two lines"]
    assert "seed: 0                       # none" in lines
    reasons = [line.strip() for line in lines if "too long" in line or "therefore" in line]
    assert all(line.startswith("# ") for line in reasons)
    assert all(len(line) <= 100 for line in lines)


def test_many_classes_are_on_many_lines(tmp_path):
    names = [f"class {number}" for number in range(200)]
    path = tmp_path / "params.yaml"
    path.write_text(page.text({"data": {"classes": Because(names)}}, "head"), encoding="utf-8")
    assert read(path).values == {"data": {"classes": names}}
    assert max(map(len, path.read_text().splitlines())) <= 100
