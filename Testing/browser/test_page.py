"""What a reader in a browser would lose: places, grades, heatmaps, outlines, files; in a real headless Chromium."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pydicom
from driving import Server, drawn, graded, grades, middle, opened, picture, place_point, settled, write_small_series

from NoduleRiskLib.grades import GRADE_NAMES


def coloured(pixels: np.ndarray) -> np.ndarray:
    """Where an image is not grey, bool (rows, columns)."""
    return np.ptp(pixels.astype(int), axis=-1) > 24


def test_a_click_brings_nine_grades_and_the_heatmap_onto_the_nodule(page) -> None:
    plain = settled(page)
    assert not coloured(plain).any()
    assert page.get_by_text("Research use only").is_visible()
    place_point(page)
    picture(page, "graded")
    found = grades(page)
    assert list(found) == list(GRADE_NAMES)
    assert float(found["malignancy"]) > 3
    # Outline, marker and its name have colours of their own: without them.
    page.get_by_label("Outline", exact=True).uncheck()
    page.get_by_label("Heatmap opacity").fill("100")
    with_heat = settled(page)
    page.get_by_label("Heatmap:").uncheck()
    without = settled(page)
    changed = np.abs(with_heat.astype(int) - without.astype(int)).max(-1) > 12
    rows, columns = np.nonzero(changed)
    assert len(rows) > 300
    # It lies on the nodule, which is in the middle: 30 mm of the 110 that the view is wide.
    height, width = changed.shape
    assert np.hypot(rows - height / 2, columns - width / 2).max() < 0.27 * min(height, width)
    # The heatmap's colours run from violet to yellow: over grey, all are redder than green.
    red, green, _ = with_heat[changed].astype(int).T
    assert np.mean(red > green) > 0.97


def test_another_grade_has_another_heatmap(page) -> None:
    place_point(page)
    page.get_by_label("Outline", exact=True).uncheck()
    page.get_by_label("Heatmap opacity").fill("100")
    of_malignancy = settled(page)
    page.get_by_role("button", name="spiculation").click()
    page.wait_for_selector("tr.chosen >> text=spiculation")
    of_spiculation = settled(page)
    assert np.abs(of_malignancy.astype(int) - of_spiculation).max() > 12
    assert page.locator(".nr-grades tr.chosen").count() == 1


def test_an_outline_that_the_reader_draws_is_graded_and_can_be_given_back(page) -> None:
    place_point(page)
    before = page.locator(".nr-sizes").inner_text()
    assert "network's outline" in before
    page.keyboard.press("b")
    page.wait_for_selector("[data-mode=brush]")
    x, y = middle(page)
    page.mouse.move(x - 20, y - 20)
    page.mouse.move(x - 40, y - 45, steps=3)
    page.mouse.down()
    page.mouse.move(x - 62, y - 62, steps=8)
    page.mouse.up()
    page.get_by_role("button", name="Grade again").click()
    page.wait_for_selector("text=measured on your outline")
    graded(page)
    assert page.locator(".nr-sizes").inner_text() != before
    assert "drawn by you" in page.locator(".nr-list tbody").inner_text()
    picture(page, "drawn")
    page.get_by_role("button", name="Use the network’s outline").click()
    page.wait_for_selector("text=measured on the network's outline")
    graded(page)
    assert page.locator(".nr-sizes").inner_text() == before


def saved(page: Any, name: str, folder: Any) -> Any:
    """Download a file by its link, and where it lies now."""
    page.get_by_role("tab", name="Files").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=name).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_files_say_what_the_page_says(page, tmp_path) -> None:
    # A CT of the server's own folder, from DICOM.
    page.get_by_role("button", name="Open a CT").click()
    page.get_by_role("button", name="small/").click()
    page.get_by_role("button", name="Open this folder").click()
    page.wait_for_selector(".nr-ct >> text=small")
    assert page.locator(".nr-list").count() == 0, "points of another CT stay behind"
    drawn(page)
    place_point(page, dx=-6, dy=34)
    shown = grades(page)
    (row,) = csv.DictReader(saved(page, "CSV", tmp_path).open(encoding="utf-8"))
    assert f"{float(row['malignancy']):.1f}" == shown["malignancy"]
    (nodule,) = json.loads(saved(page, "JSON", tmp_path).read_text())["nodules"]
    assert nodule["label"] == "N-1"
    segments = pydicom.dcmread(saved(page, "SEG", tmp_path))
    assert (segments.Modality, len(segments.SegmentSequence)) == ("SEG", 1)
    assert segments.pixel_array.any()
    report = pydicom.dcmread(saved(page, "SR", tmp_path))
    assert report.Modality == "SR"
    assert b"N-1" in saved(page, "Report, HTML", tmp_path).read_bytes()


def test_readers_do_not_see_each_other_and_a_reload_loses_nothing(page, server, chromium) -> None:
    place_point(page)
    with opened(server, chromium) as other:
        assert other.locator(".nr-list").count() == 0
        assert other.get_attribute(".nr", "data-session") != page.get_attribute(".nr", "data-session")
        place_point(other, dx=70, dy=150)
        assert grades(other) != grades(page)
        assert page.locator(".nr-list tbody tr").count() == 1
    before = grades(page), page.get_attribute(".nr", "data-session")
    page.reload()
    drawn(page)
    graded(page)
    assert (grades(page), page.get_attribute(".nr", "data-session")) == before


def test_keys_do_what_buttons_do(page) -> None:
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-view=Red][data-mode=look]")
    page.keyboard.press("w")
    page.wait_for_selector("button[aria-pressed=true] >> text=soft tissue")
    page.keyboard.press("1")
    page.wait_for_selector(".nr-views[data-big=Red]")
    page.keyboard.press("1")
    at = page.get_by_label("Axial slice").input_value()
    page.mouse.move(*middle(page))
    page.keyboard.press("ArrowUp")
    page.wait_for_function(f"document.querySelector('[aria-label=\"Axial slice\"]').value !== '{at}'")
    page.keyboard.press("?")
    page.wait_for_selector("[role=dialog] >> text=Keys")
    page.keyboard.press("Escape")
    page.wait_for_selector("[role=dialog]", state="detached")
    # The tabulator reaches every control, and each shows that it is reached.
    kinds = "button, input, select, a[href]"
    controls = page.evaluate(
        "kinds => [...document.querySelectorAll(kinds)]"
        ".filter(one => one.checkVisibility({visibilityProperty: true}) && !one.disabled).length",
        kinds,
    )
    assert controls > 10
    # The views, which hear the keys, are on its way.
    for _ in range(2 * controls):
        page.keyboard.press("Tab")
        if page.evaluate("kinds => document.activeElement.matches(kinds)", kinds):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            page.evaluate("document.activeElement.dataset.reached = 1")
    assert page.locator("[data-reached]").count() == controls


def test_what_is_uploaded_is_opened_and_what_is_broken_is_told(page, tmp_path) -> None:
    page.get_by_role("button", name="Open a CT").click()
    chosen = page.locator("input[data-upload]").last
    chosen.set_input_files({"name": "ct.zip", "mimeType": "application/zip", "buffer": b"PK\3\4 broken"})
    page.wait_for_selector(".nr-error")
    page.get_by_role("button", name="Open a CT").click()
    folder = write_small_series(tmp_path / "mine")
    page.locator("input[data-upload]").first.set_input_files(folder)
    page.wait_for_function("document.querySelector('.nr-ct').innerText.startsWith('ct-')")
    drawn(page)
    assert page.locator(".nr-error").count() == 0


def test_a_server_that_is_started_again_is_found_again(chromium, root) -> None:
    one = Server(str(root / "small"), "--sessions", "1")
    try:
        with opened(one, chromium) as reader:
            one.kill()
            reader.wait_for_selector("text=The server does not answer")
            assert reader.get_by_text("Research use only").is_visible()
            one.start(one.port)
            drawn(reader)
            assert reader.locator("#nr-gone").count() == 0
            # What trame's client threw when its connection broke.
            reader.wrong.clear()
            # Its only place is taken: another reader is told, in a sentence.
            answer = chromium.new_context().new_page().goto(one.address)
            assert answer.status == 503
            assert "places are taken" in answer.text()
    finally:
        one.stop()
