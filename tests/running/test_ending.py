"""A command ends without teardown: its exit code, its output and its exit handlers stay."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

COMMAND = """
import atexit, sys, threading, time
from pipeline.core.errors import UserError
from pipeline.running.entry import enter


class Torn:
    def __del__(self):
        print("torn down")


torn = Torn()
torn.itself = torn
atexit.register(print, "handler")
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()


def main(argv):
    print("said", end="")
    {what}


enter(main)
"""


def ended(what: str, first: str = "", **options) -> subprocess.CompletedProcess:
    """A process whose command does `what`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", first + COMMAND.replace("{what}", what)],
        env=environment | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        **{"stdout": subprocess.PIPE} | options,
    )


@pytest.mark.parametrize(
    ("what", "code", "error"),
    [
        ("pass", 0, ""),
        ("raise UserError('a', 'b', 'c')", 2, "error: a: b; fix: c\n"),
        ("sys.exit(143)", 143, ""),
    ],
)
def test_threads_and_handlers_run_and_nothing_is_torn_down(what, code, error):
    done = ended(what)
    assert (done.returncode, done.stdout, done.stderr) == (code, "saidthread\nhandler\n", error)


def test_an_error_of_ours_ends_as_python_ends_it():
    done = ended("1 / 0")
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    assert "torn down" in done.stdout


def test_words_given_to_exit_are_said():
    done = ended("sys.exit('words')")
    assert done.returncode == 1 and done.stderr == "words\n"


def test_a_command_that_somebody_else_calls_leaves_their_process_alone(tmp_path):
    (tmp_path / "command.py").write_text("def main(argv):\n    pass\n")
    script = (
        "from command import main\nfrom pipeline.running.entry import enter\nenter(main)\n1 / 0"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE)
    assert done.returncode == 1, "and not the command's 0"


def test_a_command_keeps_the_memory_that_it_frees():
    first = "from pipeline.core import memory\nmemory.keep_freed_memory = lambda: print('kept')\n"
    done = ended("pass", first=first)
    assert done.stdout == "kept\nsaidthread\nhandler\n"


@pytest.mark.parametrize("what", ["print(flush=True)", "print('x' * 100_000)"])
@pytest.mark.parametrize("first", ["", "import sys; sys.stdout.reconfigure(write_through=True)\n"])
def test_a_command_that_nobody_listens_to_ends_without_a_word_or_success(what, first):
    """As `python -m pipeline show | head -3` does."""
    read, write = os.pipe()
    os.close(read)
    done = ended(what, first, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_pipe_of_its_own_that_breaks_is_a_fault():
    done = ended("raise BrokenPipeError('of a worker')")
    assert done.returncode == 1 and "BrokenPipeError: of a worker" in done.stderr
