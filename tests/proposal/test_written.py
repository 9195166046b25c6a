"""A params.yaml that a person has changed is not lost."""

import subprocess

import pytest

from pipeline.core.errors import UserError
from pipeline.proposal import written


def git(folder, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_a_file_that_git_has_may_be_replaced_and_one_with_changes_may_not(tmp_path):
    path = tmp_path / "params.yaml"
    written.refuse_own(path)  # there is none
    path.write_text("a: 1\n")
    with pytest.raises(UserError, match=r"--force`, which keeps it as .*params.yaml.bak,"):
        written.refuse_own(path)
    git(tmp_path, "init", "-q")
    with pytest.raises(UserError):
        written.refuse_own(path)
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "start")
    written.refuse_own(path)
    path.write_text("a: 2\n")
    with pytest.raises(UserError, match="is there, with changes that git does not have"):
        written.refuse_own(path)


def test_the_file_before_is_kept_and_so_are_those_before_that(tmp_path):
    path = tmp_path / "params.yaml"
    assert written.write(path, "one") is None
    assert written.write(path, "two") == tmp_path / "params.yaml.bak"
    assert written.write(path, "three") == tmp_path / "params.yaml.bak1"
    texts = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert texts == {"params.yaml": "three", "params.yaml.bak": "one", "params.yaml.bak1": "two"}


def test_without_git_every_file_counts_as_changed(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("a: 1\n")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError):
        written.refuse_own(tmp_path / "params.yaml")
