"""What the buttons that ask for a file or a folder do with the answer."""

import csv
import json

import pytest
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
