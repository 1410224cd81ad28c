"""What the buttons that ask for a file or a folder do with the answer."""

import csv
import json

import pytest
import slicer.util
import standins
from panel_case import PanelCase, read


@pytest.fixture
def case():
    """The panel with three assessed nodules."""
    case = PanelCase()
    case.setUp()
    case.assess()
    yield case
    case.tearDown()
    standins.answers.update(file="", folder="")


def press(case, button):
    getattr(case.ui, button).click()
    case.settle(lambda: case.state.export is None and not case.panel.busy)


def test_csv_and_json_are_written_where_the_user_says(case, tmp_path):
    standins.answers["file"] = str(tmp_path / "mine.csv")
    press(case, "csvButton")
    with (tmp_path / "mine.csv").open(encoding="utf-8", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["N-1", "N-2", "N-3"]
    standins.answers["file"] = str(tmp_path / "mine.json")
    press(case, "jsonButton")
    written = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    assert [one["label"] for one in written["nodules"]] == ["N-1", "N-2", "N-3"]


def test_pages_are_written_into_the_folder_that_the_user_says(case, tmp_path):
    pytest.importorskip("matplotlib")
    standins.answers["folder"] = str(tmp_path)
    press(case, "picturesButton")
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_pages_are_replaced_only_if_the_user_agrees_and_asked_once(case, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    standins.answers["folder"] = str(tmp_path)
    mine = tmp_path / "02-N-2.png"
    mine.write_text("my own", encoding="utf-8")
    said = []
    monkeypatch.setattr(
        slicer.util, "confirmOkCancelDisplay", lambda text, *more, **others: said.append(text) or len(said) > 1
    )
    press(case, "picturesButton")
    assert [path.name for path in tmp_path.iterdir()] == ["02-N-2.png"]
    assert mine.read_text(encoding="utf-8") == "my own"
    assert said == ["1 of 3 pages are in that folder already, 02-N-2.png for example: replace them?"]
    press(case, "picturesButton")
    assert len(said) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01-N-1.png", "02-N-2.png", "03-N-3.png"]
    assert mine.read_bytes().startswith(b"\x89PNG")


def test_a_page_that_cannot_be_drawn_leaves_no_half_file_and_loses_no_other(case, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from NoduleRiskLib.results import nodule_page

    write_page = nodule_page.write_page

    def fails_once(path, volume, assessment, name):
        if assessment.point.label == "N-2":
            path.write_bytes(b"half")
            raise RuntimeError("no font")
        write_page(path, volume, assessment, name)

    monkeypatch.setattr(nodule_page, "write_page", fails_once)
    standins.answers["folder"] = str(tmp_path)
    press(case, "picturesButton")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01-N-1.png", "03-N-3.png"]
    assert "The page of N-2 could not be drawn" in read(case.ui.statusLabel, "text")


def test_a_full_disk_leaves_the_folder_as_it_was(case, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from NoduleRiskLib.results import nodule_page

    def fails(path, volume, assessment, name):
        path.write_bytes(b"half")
        if assessment.point.label == "N-3":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(nodule_page, "write_page", fails)
    standins.answers["folder"] = str(tmp_path)
    press(case, "picturesButton")
    assert list(tmp_path.iterdir()) == []
    assert "No space left on device" in read(case.ui.statusLabel, "text")


def test_closing_the_dialog_writes_nothing(case, tmp_path):
    press(case, "csvButton")
    press(case, "picturesButton")
    assert case.state.error == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_model_is_refused_in_one_sentence(case, tmp_path):
    standins.answers["folder"] = str(tmp_path)
    press(case, "localModelButton")
    assert case.state.parameters.package == ""
    assert "lacks model.json" in read(case.ui.statusLabel, "text")
