"""What a hostile or broken upload, or a path that leads out, could do to the server: nothing."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from NoduleRiskLib.browser.uploads import Inbox, Limits, below, listing, unpacked
from NoduleRiskLib.errors import NoduleRiskError

LIMITS = Limits(bytes=100_000, files=20)


def packed(tmp_path: Path, *entries: tuple[zipfile.ZipInfo | str, bytes]) -> Inbox:
    """An upload that is one archive with these entries."""
    inbox = Inbox(tmp_path / "sent", LIMITS)
    with zipfile.ZipFile(inbox.new_file("a.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return inbox


def refused(tmp_path: Path, inbox: Inbox) -> str:
    with pytest.raises(NoduleRiskError) as error:
        unpacked(inbox, Inbox(tmp_path / "ct", LIMITS))
    return str(error.value)


def link(name: str, kind: int = stat.S_IFLNK) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (kind | 0o777) << 16
    return entry


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..\\..\\evil", "C:\\evil", "a/../../evil", ".."])
def test_names_in_an_archive_are_no_paths(tmp_path: Path, name: str) -> None:
    place = unpacked(packed(tmp_path, (zipfile.ZipInfo(name), b"x")), Inbox(tmp_path / "ct", LIMITS))
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.parent for path in everything] == [tmp_path / "ct"]
    assert place == tmp_path / "ct"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    assert "links or devices" in refused(tmp_path, packed(tmp_path, (link("passwd", kind), b"/etc/passwd")))


def test_a_bomb_stops_at_the_bound(tmp_path: Path) -> None:
    inbox = packed(tmp_path, ("bomb", bytes(10_000_000)))
    assert sum(file.stat().st_size for file in inbox.folder.iterdir()) < 20_000
    assert "MB" in refused(tmp_path, inbox)
    # No piece was written that had not been counted.
    assert sum(file.stat().st_size for file in (tmp_path / "ct").iterdir()) <= LIMITS.bytes


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path) -> None:
    assert "files" in refused(tmp_path, packed(tmp_path, *((f"{n}.dcm", b"x") for n in range(21))))


def test_a_broken_archive_is_a_sentence(tmp_path: Path) -> None:
    inbox = packed(tmp_path, ("a", os.urandom(5000)))
    (file,) = inbox.folder.iterdir()
    content = bytearray(file.read_bytes())
    content[200:300] = bytes(100)
    file.write_bytes(content)
    assert "broken" in refused(tmp_path, inbox)


def test_an_archive_s_own_sizes_are_not_believed(tmp_path: Path) -> None:
    inbox = packed(tmp_path, ("bomb", bytes(1_000_000)))
    (file,) = inbox.folder.iterdir()
    content = file.read_bytes().replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    file.write_bytes(content)
    refused(tmp_path, inbox)
    assert sum(one.stat().st_size for one in (tmp_path / "ct").iterdir()) <= LIMITS.bytes


def test_one_image_file_is_the_ct_and_slices_are_their_folder(tmp_path: Path) -> None:
    into = Inbox(tmp_path / "ct", LIMITS)
    assert unpacked(packed(tmp_path, ("deep/ct.nii.gz", b"x"), ("notes.txt", b"")), into).name.endswith("ct.nii.gz")
    assert "no file" in refused(tmp_path / "other", Inbox(tmp_path / "other" / "sent", LIMITS))


@pytest.mark.parametrize(
    "relative",
    ["..", "../", "a/../..", "/etc", "/etc/passwd", "out", "out/passwd", "a/up", "none", "\0", "a" * 5000],
)
def test_no_path_leads_out_of_the_root(tmp_path: Path, relative: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "out").symlink_to("/etc")
    (root / "a" / "up").symlink_to(tmp_path)
    with pytest.raises(NoduleRiskError, match="no such folder"):
        below(root, relative)


def test_without_a_root_nothing_is_open() -> None:
    with pytest.raises(NoduleRiskError, match="--root"):
        below(None, "")


def test_a_listing_hides_what_leads_out(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    for name in ("ct.nrrd", "1.dcm", "2.dcm", ".hidden"):
        (tmp_path / name).touch()
    found = listing(tmp_path, "")
    assert (found["folders"], found["images"], found["others"]) == (["a"], ["ct.nrrd"], 2)
    assert listing(tmp_path, "a")["path"] == "a"
