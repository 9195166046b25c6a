"""Which files may be opened is known without opening any."""

import os

import odd_files
import pytest

from pipeline.sources import decoder
from pipeline.sources.decoding import decode_all
from pipeline.sources.stamps import Stamp, Stamps


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with a file, a folder within it with another, and secrets outside."""
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"12345")
    (tmp_path / "photos/a.png").write_bytes(b"123")
    (tmp_path / "photos/cat/b.png").write_bytes(b"1234")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_a_file_is_known_by_its_size_and_time(root):
    os.utime(root / "a.png", ns=(5, 123_456_789))
    assert Stamps(root).of("a.png") == Stamp(3, 123_456_789)
    assert Stamps(root).of("cat/b.png").num_bytes == 4
    assert Stamps(root).of("cat/../a.png").num_bytes == 3


def test_links_within_are_followed_and_those_that_lead_out_are_not(root, tmp_path):
    (root / "within.png").symlink_to("cat/b.png")
    (root / "out.png").symlink_to("../secret.png")
    (root / "in a round.png").symlink_to(tmp_path / "photos/../photos/a.png")
    (root / "folder").symlink_to(tmp_path)
    (root / "beside").symlink_to(root / "cat")
    (root / "cat/chain.png").symlink_to("../out.png")
    paths = ["within.png", "in a round.png", "beside/b.png"]
    assert [Stamps(root).of(path).num_bytes for path in paths] == [4, 3, 4]
    outside = ["out.png", "folder/secret.png", "cat/chain.png", "../secret.png", "cat/../../x"]
    for path in outside:
        assert Stamps(root).of(path) == f"leads out of {root}"


def test_a_root_may_be_a_link_and_another_may_begin_like_it(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert Stamps(tmp_path / "link").of("a.png").num_bytes == 3
    (tmp_path / "photos2").mkdir()
    (tmp_path / "photos2/x.png").write_bytes(b"")
    (root / "x.png").symlink_to("../photos2/x.png")
    assert Stamps(root).of("x.png") == f"leads out of {root}"


@pytest.mark.parametrize("path", ["/etc/hostname", "nul\0.png", "x" * 300, "", "cat"])
def test_what_is_no_file_below_the_root_is_said(root, path):
    assert isinstance(Stamps(root).of(path), str)


def test_nothing_special_is_opened_and_nothing_hangs(root, monkeypatch):
    files = odd_files.write(root, odd_files.SPECIAL)
    monkeypatch.setattr(decoder, "store", lambda *job: pytest.fail(f"would open {job[1]}"))
    results = decode_all(root, [file.name for file in files], 8)
    assert len(results.faults) == len(files)
    for place, file in enumerate(files):
        assert file.fault in results.faults[place]
