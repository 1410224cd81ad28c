"""Image files and DICOM slices whose headers, or voxels, were changed."""

from __future__ import annotations

import gzip
import tempfile
from functools import cache
from pathlib import Path

import SimpleITK as sitk
from hypothesis import strategies as st

from NoduleRiskLib.imaging import reading
from Testing.unit.imaging.made_scans import chest, write_series

from .mutations import changed
from .trying import Case

NAMES = ("a.nrrd", "raw.nrrd", "a.nhdr", "a.nii", "a.nii.gz", "a.mha", "raw.mha", "a.mhd", "list.mhd")
SLICES, SIDE = 8, 24


def read(path: Path) -> object:
    """What is tried."""
    return reading.read(path)


@cache
def good() -> dict[str, dict[str, bytes]]:
    """A good image by the name of its header, with all its files; a DICOM series by the name ""."""
    hu = chest(SLICES, SIDE)
    found = {}
    with tempfile.TemporaryDirectory(prefix="nodulerisk-fuzz-") as made:
        for name in NAMES[:-1]:
            folder = Path(made) / name
            folder.mkdir()
            image = sitk.GetImageFromArray(hu)
            image.SetSpacing((0.8, 0.7, 2.0))
            image.SetOrigin((-10.0, -20.0, -300.0))
            sitk.WriteImage(image, str(folder / name), useCompression=not name.startswith("raw") and name != "a.nii")
            found[name] = {file.name: file.read_bytes() for file in folder.iterdir()}
        header = found["raw.mha"]["raw.mha"].partition(b"ElementDataFile")[0]
        files = {f"s{k}.raw": one.tobytes() for k, one in enumerate(hu)}
        found["list.mhd"] = {
            "list.mhd": header + b"ElementDataFile = LIST\n" + "\n".join(files).encode() + b"\n"
        } | files
        series = write_series(Path(made) / "series", hu)
        found[""] = {file.name: file.read_bytes() for file in series.iterdir()}
    return found


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One file of a good image with a few changes: nearly always the one with the header."""
    target = draw(st.sampled_from([*NAMES, *NAMES, ""]))
    files = dict(good()[target])
    header = target or sorted(files)[2]
    name = header if draw(st.integers(0, 9)) else draw(st.sampled_from(sorted(files)))
    data = files[name]
    if name == "a.nii.gz" and draw(st.booleans()):
        # Changed before it is packed: the header is reached, and the checksum is right.
        files[name] = gzip.compress(draw(changed(gzip.decompress(data))), 1)
    else:
        files[name] = draw(changed(data))
    return Case(files, target)
