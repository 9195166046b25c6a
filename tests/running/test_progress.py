"""A bar in a terminal, lines in a log, silence for what is soon done."""

import io
import sys

from pipeline.running import progress
from pipeline.running.progress import progress as bar
from stages import prepare, teacher


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_what_is_soon_done_says_nothing_in_a_log(capsys):
    with bar(1000, 0, "images", "image") as shown:
        for _ in range(1000):
            shown.update()
    assert capsys.readouterr().err == ""


def test_a_long_run_says_how_far_it_is_in_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 1e-9)
    with bar(30, 10, "images", "image") as shown:
        for _ in range(2):
            shown.update(5)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("images: 15 of 30 images, ") and " image/s, " in first
    assert second.startswith("images: 20 of 30 images, ") and second.endswith(" left")


def test_a_terminal_has_a_bar_that_goes_away(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with bar(30, 0, "teacher") as shown:
        shown.update(3)
        shown.set_postfix_str("loss 1.0")
        shown.refresh()
    assert "teacher:  10%" in stream.getvalue() and "step/s" in stream.getvalue()
    assert stream.getvalue().endswith("\r") and "\n" not in stream.getvalue()


def test_a_short_training_says_nothing_in_a_log(project, capsys):
    prepare.main()
    teacher.main()
    assert "steps" not in capsys.readouterr().err
