"""Nothing here can run Slicer itself, so every name of Slicer and Qt that the module uses is looked up and listed."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDERS = ("NoduleRisk", "NoduleRiskLib/panel", "NoduleRiskLib/slicer_scene")
FILES = sorted(
    path.relative_to(CHECKOUT).as_posix() for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*.py")
)


def widgets():
    """Class of every widget of the panel, by its name."""
    tree = ElementTree.parse(CHECKOUT / "NoduleRisk" / "Resources" / "UI" / "NoduleRisk.ui")
    return {widget.get("name"): widget.get("class") for widget in tree.iter("widget")}


def used(file):
    """``slicer.x``, ``qt.x`` and, for widgets of the .ui, ``Class.x``, as the file writes them; the longest only."""
    classes, names = widgets(), set()
    for node in ast.walk(ast.parse((CHECKOUT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            widget = re.fullmatch(r"(?:self\.)?_?ui\.(\w+)\.(\w+)", name)
            if widget:
                names.add(f"{classes[widget[1]]}.{widget[2]}")
            elif re.fullmatch(r"(slicer|qt)(\.\w+)+", name):
                names.add(name)
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)}


@pytest.mark.parametrize("file", FILES)
def test_every_name_is_listed_with_its_place_in_slicers_source(file):
    listed = set(re.findall(r"`([\w.]+)`", (CHECKOUT / "Testing" / "panel" / "README.md").read_text(encoding="utf-8")))
    missing = sorted(used(file) - listed)
    assert not missing, f"look these up in Slicer's source and list them in Testing/panel/README.md: {missing}"


def test_every_widget_that_the_panel_uses_is_in_its_ui_file():
    names, found = widgets(), set()
    for file in FILES:
        found |= set(re.findall(r"\b_?ui\.(\w+)", (CHECKOUT / file).read_text(encoding="utf-8")))
    assert len(found) > 20, "the panel's widgets are not called ui.name any more: this test looks for the wrong thing"
    assert found <= set(names), found - set(names)


def test_an_unlisted_name_of_qt_raises():
    import qt

    with pytest.raises(AttributeError, match="not listed"):
        qt.QWebEngineView  # noqa: B018
