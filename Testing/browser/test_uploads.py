"""What a hostile or broken upload, or a path that leads out, could do to the server: nothing."""

from __future__ import annotations

import errno
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from NoduleRiskLib.browser.uploads import Inbox, Limits, below, listing, unpacked
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.reading import read
from Testing.unit.imaging.made_scans import chest, write_series

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


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_unpack_without_bound_are_refused(tmp_path: Path, kind: int) -> None:
    inbox, into = Inbox(tmp_path / "sent", LIMITS), Inbox(tmp_path / "ct", LIMITS)
    with zipfile.ZipFile(inbox.new_file("a.zip"), "w", kind) as archive:
        archive.writestr("bomb", bytes(1000))
    with pytest.raises(NoduleRiskError, match=r"plain \.zip"):
        unpacked(inbox, into)
    assert not list(into.folder.iterdir())


def test_a_full_disk_is_not_the_archive_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, into = packed(tmp_path, ("a", b"x")), Inbox(tmp_path / "ct", LIMITS)

    def full(size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(into, "count", full)
    with pytest.raises(OSError, match="No space left"):
        unpacked(inbox, into)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (["ct.mhd", "ct.raw"], ["ct.mhd", "ct.raw"]),
        (["a/1.dcm", "b/1.dcm", "B/1.DCM"], ["1.dcm", "00002-1.dcm", "00003-1.DCM"]),
        (["00002-x", "00002-x", "x", "x"], ["00002-x", "00002-00002-x", "x", "00004-x"]),
        (["..", ".hidden", "", "\0/é?.nrrd"], ["file", "hidden", "00003-file", "--.nrrd"]),
        (["n" * 300 + ".nii.gz"], ["n" * 93 + ".nii.gz"]),
        (
            ["a/my CT (1).raw", "my ct (1).RAW", " . .x ", " ", ". ./ .. "],
            ["my CT (1).raw", "00002-my ct (1).RAW", "x", "file", "00005-file"],
        ),
    ],
)
def test_harmless_names_are_kept_and_none_is_used_twice(tmp_path: Path, sent: list[str], kept: list[str]) -> None:
    inbox = Inbox(tmp_path / "sent", LIMITS)
    assert [inbox.new_file(name).relative_to(inbox.folder).as_posix() for name in sent] == kept


def image(folder: Path, kind: str, word: str) -> Path:
    """A header with its voxels in another file."""
    lines = {
        ".mhd": "NDims = 3\nDimSize = 40 40 40\nElementType = MET_SHORT\nElementSpacing = 1 1 1\n"
        f"ElementDataFile = {word}\n",
        ".nhdr": "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 40 40 40\n"
        "endian: little\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        f"space origin: (0,0,0)\nencoding: raw\ndata file: {word}\n\n",
    }
    file = folder / f"ct{kind}"
    file.write_text(lines[kind])
    return file


def voxels(file: Path) -> None:
    np.random.default_rng(0).integers(-1000, 300, 64000).astype("<i2").tofile(file)


@pytest.mark.parametrize("kind", [".mhd", ".nhdr"])
@pytest.mark.parametrize("name", ["ct.raw", "my CT (1).raw"])
def test_a_header_and_its_voxels_can_be_sent_together(tmp_path: Path, kind: str, name: str) -> None:
    inbox = Inbox(tmp_path / "sent", Limits())
    image(tmp_path, kind, name).rename(inbox.new_file(f"my ct{kind}"))
    voxels(inbox.new_file(name))
    place = unpacked(inbox, Inbox(tmp_path / "ct", Limits()))
    assert read(place, within=tmp_path / "ct").array.shape == (40, 40, 40)


@pytest.mark.parametrize("kind", [".mhd", ".nhdr"])
@pytest.mark.parametrize(
    "word", ["{}/other.raw", "../other.raw", "link.raw", "LIST" + 40 * "\n../other.raw", "../other%d.raw 1 40 1"]
)
def test_a_header_s_files_lie_where_the_reader_may_look(tmp_path: Path, kind: str, word: str) -> None:
    voxels(tmp_path / "other.raw")
    inbox = tmp_path / "ct"
    inbox.mkdir()
    (inbox / "link.raw").symlink_to(tmp_path / "other.raw")
    place = image(inbox, kind, word.format(tmp_path))
    with pytest.raises(NoduleRiskError, match="outside the folder"):
        read(place, within=inbox)
    if word == "../other.raw":
        assert read(place).array.shape == (40, 40, 40), "on one's own computer a header may name any file"


def test_no_slice_is_a_link_outwards(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_series(root / "chest", chest())
    write_series(tmp_path / "other", chest())
    assert read(root / "chest", within=root).array.size
    slices = sorted((root / "chest").iterdir())
    slices[3].unlink()
    slices[3].symlink_to(tmp_path / "other" / slices[3].name)
    for place in (root / "chest", slices[0], slices[3]):
        with pytest.raises(NoduleRiskError, match="leads out"):
            read(place, within=root)


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


def test_loops_and_unreadable_folders_do_not_end_a_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    assert listing(tmp_path, "")["folders"] == ["a"]
    # Who runs the tests may be allowed everything.
    monkeypatch.setattr(Path, "iterdir", lambda self: os.scandir(tmp_path / "none"))
    with pytest.raises(NoduleRiskError, match="cannot be listed"):
        listing(tmp_path, "a")


def test_a_listing_hides_what_leads_out(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    for name in ("ct.nrrd", "1.dcm", "2.dcm", ".hidden"):
        (tmp_path / name).touch()
    found = listing(tmp_path, "")
    assert (found["folders"], found["images"], found["others"]) == (["a"], ["ct.nrrd"], 2)
    assert listing(tmp_path, "a")["path"] == "a"
