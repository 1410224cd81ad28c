"""What a reader would lose while views are drawn: grades that come first, and outlines that are the voxels' own."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trame_slicer", reason="LEFT OUT: views; they need pip install 'NoduleRisk[browser]'")
import vtk

from NoduleRiskLib.browser.drawing import Drawing
from NoduleRiskLib.browser.outlines import surface, walls
from NoduleRiskLib.imaging.volume import Volume


class View:
    """A view as trame-slicer makes it: told to draw, a task of its own does in the next turn."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name, self._done, self._scheduled_render = name, done, self

    def set_scheduled_render(self, strategy: Any) -> None:
        self.strategy = strategy

    def schedule_render(self) -> None:
        asyncio.get_running_loop().call_soon(self._done.append, self.name)


def test_what_was_found_leaves_before_a_view_is_drawn_and_a_click_comes_in_between() -> None:
    done: list[str] = []

    async def turns() -> None:
        drawing = Drawing()
        views = [View(name, done) for name in ("axial", "coronal")]
        for one in views:
            drawing.take(one)
        task = asyncio.ensure_future(drawing.draw_for_ever())
        await asyncio.sleep(0)
        for one in (*views, views[0]):
            one.strategy.schedule_render()
        # Sent a few turns later, as trame does.
        asyncio.get_running_loop().call_later(0, lambda: asyncio.ensure_future(said("grades")))
        while "axial" not in done:
            await asyncio.sleep(0)
        await said("click")
        while "coronal" not in done:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        task.cancel()

    async def said(what: str) -> None:
        await asyncio.sleep(0)
        done.append(what)

    asyncio.run(asyncio.wait_for(turns(), 10))
    assert done == ["grades", "axial", "click", "coronal"]


def test_lines_in_a_slice_run_along_the_outlines_voxels() -> None:
    inside = np.zeros((3, 4, 5), np.uint8)
    inside[1, 1:3, 2] = 1
    assert walls(inside).shape == (10, 4, 3)
    ijk_to_ras = np.array([[-0.5, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]])
    plane, cutter = vtk.vtkPlane(), vtk.vtkCutter()
    plane.SetOrigin(0, 0, 32)
    plane.SetNormal(0, 0, 1)
    cutter.SetInputData(surface([Volume(inside, ijk_to_ras, "outline")]))
    cutter.SetCutFunction(plane)
    cutter.Update()
    lines = cutter.GetOutput()
    # Voxel (2, 1) and (2, 2): 0.5 mm wide, 1 mm high, their walls half a voxel from their centres.
    assert np.allclose(lines.GetBounds(), [8.75, 9.25, 18.75, 19.75, 32, 32], atol=1e-5)
    assert lines.GetNumberOfLines() == 6
    assert surface([]).GetNumberOfCells() == 0
