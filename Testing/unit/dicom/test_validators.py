"""What a strict archive would refuse: all kinds of objects, through programs that know the standard by heart."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from NoduleRiskLib.dicom.writing import dicom_objects, write_dicom
from NoduleRiskLib.followup.growth import Size, growth
from NoduleRiskLib.guidelines.management import manage
from NoduleRiskLib.imaging.volume import Volume
from Testing.unit.dicom.made_series import found_in

#: Debian's packages, by the program that is asked.
PACKAGES = {"dciodvfy": "dicom3tools", "dsrdump": "dcmtk"}


def ask(program: str, file: Path, *options: str) -> tuple[int, str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt-get install {PACKAGES[program]}.")
    done = subprocess.run([program, *options, str(file)], capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.fixture(scope="module")
def files(ct: Volume, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Everything that can be written: names and none, fractions, a user's outline, growth, guidelines, an observer."""
    one = found_in(ct, "Rundherd mit Umläut")
    assert one.nodule is not None
    drawn = replace(one, nodule=replace(one.nodule, outline=replace(one.nodule.outline, drawn_by="user")))
    grown = growth(Size(8, 8, 8, 250), Size(10, 10, 10, 520), 120, date(2025, 9, 4), date(2026, 1, 2))
    asked = manage(drawn, ct.dicom, {"smoked": True, "setting": "screening"})
    folder = tmp_path_factory.mktemp("objects")
    kinds: list[tuple[list[Any], dict[str, Any]]] = [
        ([one, drawn], {"managements": [None, asked], "growth": [None, grown], "observer": "Müller^Eva"}),
        ([one], {"fractional": True, "anonymous": True, "model": {"digest": "ab" * 32}}),
    ]
    return [path for some, more in kinds for path in write_dicom(folder, dicom_objects(ct, some, **more))]


def test_dciodvfy_finds_no_error(files: list[Path]) -> None:
    assert len(files) == 2 + 2 + 1 + 1 + 1 + 1
    for file in files:
        _, said = ask("dciodvfy", file)
        assert not [line for line in said.splitlines() if line.startswith("Error")], said


def test_dsrdump_prints_the_report(files: list[Path]) -> None:
    printed = ""
    for file in files:
        if file.name.startswith("SR"):
            code, said = ask("dsrdump", file, "+Pl")
            assert code == 0 and not any(line.startswith("E:") for line in said.splitlines()), said
            printed += said
    for words in (
        "Spiculation",
        "Rundherd mit Umläut",
        "doubles in",
        "not that of cancer",
        "Outline drawn by",
        "Müller^Eva",
    ):
        assert words in printed
