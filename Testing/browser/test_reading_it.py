"""What readers with other eyes, hands or screens would lose: names, contrast, small screens, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driving import opened, picture, place_point


def findings(page: Any) -> list[str]:
    """What axe-core finds serious or critical."""
    axe = pytest.importorskip("axe_playwright_python", reason="LEFT OUT: axe-core; pip install axe-playwright-python")
    page.evaluate(Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_axe_finds_nothing_serious_in_dark_and_light(page) -> None:
    place_point(page)
    for theme in ("dark", "light"):
        page.wait_for_selector(f".nr[data-theme={theme}]")
        for tab in ("Grades", "Management", "Earlier CT", "Files"):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_selector(f"[role=tab][aria-selected=true] >> text={tab}")
            assert findings(page) == [], f"{theme}, {tab}"
            picture(page, f"{theme}-{tab.lower().replace(' ', '-')}")
        page.get_by_role("button", name="Light or dark").click()
    page.get_by_role("button", name="Open a CT").click()
    page.wait_for_selector("[role=dialog]")
    assert findings(page) == []
    picture(page, "open")


@pytest.mark.parametrize(("width", "height"), [(820, 1180), (1180, 820)])
def test_a_tablet_shows_everything(server, chromium, width: int, height: int) -> None:
    with opened(server, chromium, width, height) as tablet:
        place_point(tablet)
        picture(tablet, f"tablet-{width}")
        assert tablet.evaluate("document.documentElement.scrollWidth") <= width
        for name in (".nr-research", ".nr-list", ".nr-grades tbody tr:nth-child(1)", "[data-view=ThreeD]"):
            box = tablet.locator(name).first.bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= width + 1, name
        panel = tablet.locator("#nr-panel")
        assert panel.evaluate("one => one.scrollWidth - one.clientWidth") <= 1, "the card is cut off"
