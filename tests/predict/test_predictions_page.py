"""docs/predictions.md: its example runs, its commands and options are those that there are."""

import argparse
import re
import shlex
from pathlib import Path

from conftest import ROOT
from PIL import Image

from pipeline.commands import predict
from pipeline.data import tasks

PAGE = (ROOT / "docs/predictions.md").read_text(encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(exit_on_error=False)
    predict.arguments(made)
    return made


def test_the_example_runs(chain, capsys):
    Path("photos").mkdir()
    for name, image in zip("abc", tasks.dataset("base").array("test")):
        Image.fromarray(image[0]).save(f"photos/{name}.png")
    [source] = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    exec(source, {})
    *answers, part = capsys.readouterr().out.splitlines()
    assert len(answers) == 3 and all(re.fullmatch(r"[0-7] \d+%", answer) for answer in answers)
    assert part.startswith("['photos/a.png'] (1, 8) {'photos/broken.png': ")


def test_the_commands_can_be_given():
    block = re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S)[0]
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert [line[:4] for line in lines] == [["python", "-m", "pipeline", "predict"]] * 4
    given = [parser().parse_args(line[4:]) for line in lines]
    assert given[1].images == ["holiday/**/*.jpg", "cat.heic"] and given[3].least == 0.9


def test_every_option_is_explained():
    named = set(re.findall(r"^\| (.*?) \|", PAGE, re.M))
    named = {word for cell in named for word in re.findall(r"`(--[\w-]+)`", cell)}
    options = {word for action in parser()._actions for word in action.option_strings}
    assert named == options - {"-h", "--help"}
