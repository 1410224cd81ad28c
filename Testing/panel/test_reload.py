"""What a developer would lose: changes to the panel's parts that the Reload button of a running Slicer takes up."""

import sys

import pytest

import NoduleRisk


@pytest.fixture
def modules():
    """The modules as they are, put back afterwards: other tests hold classes of theirs."""
    before = dict(sys.modules)
    yield
    sys.modules.clear()
    sys.modules.update(before)


def test_reload_takes_up_the_parts_too(modules):
    parts = {name: module for name, module in sys.modules.items() if name.startswith("NoduleRiskLib.panel.")}
    assert len(parts) > 10
    NoduleRisk.NoduleRiskWidget.onReload(object.__new__(NoduleRisk.NoduleRiskWidget))
    assert sys.modules["NoduleRisk"] is not NoduleRisk
    assert [name for name, module in parts.items() if sys.modules.get(name) is module] == []
    assert sys.modules["NoduleRisk"].Panel is sys.modules["NoduleRiskLib.panel.panel"].Panel
