"""Files are whole or absent, and equal values give equal bytes."""

import errno
import os
import sys

import pytest

from pipeline.core import files
from pipeline.core.errors import UserError, nearest
from pipeline.running.entry import enter


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_bytes_come_back_and_nothing_else_stays(tmp_path):
    files.write_bytes(tmp_path / "a/b/c", b"one")
    files.write_bytes(tmp_path / "a/b/c", b"two")
    assert (tmp_path / "a/b/c").read_bytes() == b"two"
    assert [p.name for p in (tmp_path / "a/b").iterdir()] == ["c"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch, call):
    files.write_bytes(tmp_path / "a", b"old")
    monkeypatch.setattr(os, call, full_disk)
    with pytest.raises(UserError, match=r"a: cannot write 5,000 bytes \(No space.* bytes are free"):
        files.write_bytes(tmp_path / "a", b"x" * 5000)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_the_bytes_are_synced_then_renamed_then_the_folder_is_synced(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def synced(handle):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *a: calls.append("rename") or replace(*a))
    (tmp_path / "folder").mkdir()
    files.write_bytes(tmp_path / "folder/a", b"x")
    assert calls == [f".a.{os.getpid()}.tmp", "rename", "folder"]


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write 1 bytes"):
        files.write_bytes(tmp_path / "file/below/a", b"x")


def test_equal_values_give_equal_bytes(tmp_path):
    files.write_json(tmp_path / "a", {"x": 1, "é": [0.1, None]})
    files.write_json(tmp_path / "b", {"é": [0.1, None], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert files.read_json(tmp_path / "a") == {"x": 1, "é": [0.1, None]}
    assert files.digest({"x": 1, "y": 2}) == files.digest({"y": 2, "x": 1}) != files.digest({})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff{}", b"[]", b"3"])
def test_json_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match="is not JSON|is not a JSON object"):
        files.read_json(tmp_path / "a")


def test_a_seal_is_broken_by_a_change(tmp_path):
    written = files.write_sealed(tmp_path / "a", {"schema": 1, "x": 1})
    assert files.read_sealed(tmp_path / "a", 1) == written
    files.write_json(tmp_path / "a", {**written, "x": 2})
    with pytest.raises(UserError, match="changed since"):
        files.read_sealed(tmp_path / "a", 1)


def test_another_schema_is_named(tmp_path):
    files.write_sealed(tmp_path / "a", {"schema": 2})
    with pytest.raises(UserError, match="schema 2, this version reads 1"):
        files.read_sealed(tmp_path / "a", 1)


def test_the_sha256_is_the_known_one(tmp_path):
    files.write_bytes(tmp_path / "a", b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "a") == known
    files.check_sha256(tmp_path / "a", known)
    with pytest.raises(UserError, match="no such file"):
        files.check_sha256(tmp_path / "b", known)


# --- errors -----------------------------------------------------------------------------------


def test_user_errors_end_in_their_lines_and_code_2(capsys):
    def fail(_):
        raise UserError.all([UserError("a", "b", "c"), UserError("d", "e", "f")])

    with pytest.raises(SystemExit) as caught:
        enter(fail)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: a: b; fix: c\nerror: d: e; fix: f\n"


def test_faults_of_ours_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        enter(lambda _: 1 / 0)


@pytest.mark.parametrize(
    ("name", "names", "half_sentence"),
    [
        ("stps", ["steps", "shift"], "did you mean 'steps'?"),
        ("zzz", ["b", "a"], "use one of: a, b"),
        ("zzz", [], "remove it"),
        (3, ["30"], "did you mean '30'?"),
    ],
)
def test_the_nearest_name(name, names, half_sentence):
    assert nearest(name, names) == half_sentence
