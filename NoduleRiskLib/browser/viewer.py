"""The four views of a session: Slicer's scene on the wheels, drawn here and streamed to the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import slicer
from trame_slicer.core import SlicerApp
from trame_slicer.rca_view import register_rca_factories
from trame_slicer.segmentation import (
    BrushDiameterMode,
    SegmentationEffectErase,
    SegmentationEffectNoTool,
    SegmentationEffectPaint,
)
from trame_slicer.views import SliceView, ViewLayoutDefinition

from ..imaging.hounsfield import LUNG_WINDOW_HU
from ..slicer_scene.inputs import Node
from .drawing import Drawing
from .pictures import Pictures

#: Names of the views, as the page calls them; the slice views first.
AXIAL, CORONAL, SAGITTAL, THREE_D = "Red", "Green", "Yellow", "ThreeD"
SLICES = (AXIAL, CORONAL, SAGITTAL)
#: Window presets: name -> what is black and what is white, HU.
WINDOWS = {"lung": LUNG_WINDOW_HU, "soft tissue": (-160.0, 240.0), "bone": (-500.0, 1300.0)}
#: What the mouse does in the slice views.
LOOK, PLACE, BRUSH, ERASER = "look", "place", "brush", "eraser"
EFFECTS = {BRUSH: SegmentationEffectPaint, ERASER: SegmentationEffectErase}
#: How wide a slice view is around a nodule, mm; how wide a 3-D view is around one.
NEAR_MM, NEAR_3D_MM = 110.0, 70.0
#: Width of the brush, mm.
BRUSH_MM = 4.0

#: Sizes of render windows that no page has sized yet, pixels.
UNSIZED = ((0, 0), (300, 300))
OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


def _towards(axis: list[float]) -> str:
    """The patient's side to which an axis (RAS) mostly points."""
    n = max(range(3), key=lambda k: abs(axis[k]))
    letter = "RAS"[n]
    return letter if axis[n] > 0 else OPPOSITE[letter]


class Viewer:
    """The scene and its views; everything here is called on the session's main thread.

    Parameters
    ----------
    server : trame_server.Server
    moved : callable
        Called when a slice view shows another slice or section.
    """

    def __init__(self, server: Any, moved: Callable[[], None]) -> None:
        self.app = SlicerApp()
        self.scene = slicer.mrmlScene = self.app.scene
        self._pictures: list[Pictures] = []
        self.drawing = Drawing()
        server.controller.rc_area_register.add(lambda area: self._pictures.append(Pictures(area)))
        # The page draws its own buttons over the views.
        no_buttons: Callable[..., None] = lambda *unused: None  # noqa: E731
        register_rca_factories(
            self.app.view_manager,
            server,
            slice_view_ui_f=no_buttons,
            three_d_view_ui_f=no_buttons,
            rca_encoder="turbo-jpeg",
            target_fps=24,
            # As a view at rest has: otherwise each change is drawn twice, the second time for its quality alone.
            interactive_quality=90,
        )
        background = "#101418"
        for view in (
            ViewLayoutDefinition.axial_view(),
            ViewLayoutDefinition.coronal_view(),
            ViewLayoutDefinition.sagittal_view(),
            ViewLayoutDefinition.threed_view(background_color=background),
        ):
            self.app.view_manager.create_view(view)
        self.app.view_manager.set_current_view_ids([*SLICES, THREE_D])
        for one in self.app.view_manager.get_views():
            # Drawn in memory, several samples a pixel cost seven times as much and change 3 pixels of a page.
            one.render_window().SetMultiSamples(0)
            self.drawing.take(one)
        for one in self.slice_views():
            one.get_view_node().AddObserver("ModifiedEvent", lambda *unused: moved())
        self.mode = LOOK

    def slice_views(self) -> list[SliceView]:
        """Axial, coronal, sagittal."""
        return [self.app.view_manager.get_view(name) for name in SLICES]

    def sized(self) -> bool:
        """Whether a page has said how large all slice views are."""
        return all(tuple(one.render_window().GetSize()) not in UNSIZED for one in self.slice_views())

    def show(self, ct: Node) -> None:
        """Show a CT in all slice views, whole."""
        self.app.display_manager.show_volume_in_slice_background(ct)
        for one in self.slice_views():
            one.reset_view()

    def window(self, ct: Node, low: float, high: float) -> None:
        """Show a CT from black to white between these HU."""
        display = ct.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(low, high)

    def near(self, ras: tuple[float, float, float], close: bool = True) -> None:
        """Centre the slice views on a place (world RAS mm), and look closely if wanted."""
        for one in self.slice_views():
            node = one.get_view_node()
            if close:
                wide, high, deep = node.GetFieldOfView()
                if wide > 0 and min(wide, high) > NEAR_MM:
                    share = NEAR_MM / min(wide, high)
                    node.SetFieldOfView(wide * share, high * share, deep)
            node.JumpSliceByCentering(*ras)
            one._logic.SnapSliceOffsetToIJK()
        self.cross(ras)

    def whole(self) -> None:
        """Show the whole CT in every view."""
        for name in (*SLICES, THREE_D):
            self.app.view_manager.get_view(name).reset_view()

    def cross(self, ras: tuple[float, float, float]) -> None:
        """Put the cross-hair on a place (world RAS mm)."""
        node = self._crosshair()
        if node:
            node.SetCrosshairRAS(*ras)

    def show_cross(self, shown: bool) -> None:
        """Show the cross-hair in the slice views, or hide it."""
        node = self._crosshair()
        if node:
            node.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowSmallBasic if shown else 0)

    def look_at_surface(self, ras: tuple[float, float, float]) -> None:
        """Look at a place (world RAS mm) from the front in the 3-D view."""
        camera = self.app.view_manager.get_view(THREE_D).get_camera_node()
        if camera:
            distance = NEAR_3D_MM / 2 / math.tan(math.radians(camera.GetViewAngle() / 2))
            camera.SetFocalPoint(*ras)
            camera.SetPosition(ras[0], ras[1] + distance, ras[2])
            camera.SetViewUp(0, 0, 1)
            camera.ResetClippingRange()

    def scroll(self, name: str, slices: int) -> None:
        """Move a slice view by some slices."""
        view = self.app.view_manager.get_view(name)
        low, high = view.get_slice_range()
        view.set_slice_value(min(high, max(low, view.get_slice_value() + slices * view.get_slice_step())))

    def slice_to(self, name: str, offset_mm: float) -> None:
        """Show the slice of a view that lies at an offset along its normal, mm."""
        view = self.app.view_manager.get_view(name)
        low, high = view.get_slice_range()
        if math.isfinite(offset_mm):
            view.set_slice_value(min(high, max(low, offset_mm)))

    def slice_state(self, name: str) -> dict[str, Any]:
        """What the page shows around a slice view: the slider's range, the place, which way is which."""
        view = self.app.view_manager.get_view(name)
        low, high = view.get_slice_range()
        matrix = view.get_view_node().GetSliceToRAS()
        right, up, normal = (_towards([matrix.GetElement(row, n) for row in range(3)]) for n in range(3))
        at = view.get_slice_value()
        letter = normal if at >= 0 else OPPOSITE[normal]
        return {
            "low": round(low, 2),
            "high": round(high, 2),
            "step": round(view.get_slice_step(), 3),
            "at": round(at, 2),
            "text": f"{letter} {abs(at):.1f} mm",
            "sides": [OPPOSITE[right], right, up, OPPOSITE[up]],
        }

    def use(self, mode: str, points: Node) -> None:
        """Let the mouse look, place a point of this list, or draw."""
        self.mode = mode
        markups, editor = self.app.markups_logic, self.app.segmentation_editor
        if mode == PLACE:
            markups.place_node(points, persistent=False)
        else:
            markups.disable_place_mode()
        effect = editor.set_active_effect_type(EFFECTS.get(mode, SegmentationEffectNoTool))
        if mode in EFFECTS and effect is not None:
            effect.set_brush_diameter(BRUSH_MM, BrushDiameterMode.Absolute)
            effect.set_use_sphere_brush(True)

    def edit(self, segmentation: Node, segment_id: str, ct: Node) -> None:
        """Make a segment the one that brush and eraser change."""
        editor = self.app.segmentation_editor
        if editor.active_segmentation_node is not segmentation:
            editor.set_active_segmentation(segmentation, ct)
            # Otherwise it drops the surfaces.
            editor.show_3d(True)
        editor.set_active_segment_id(segment_id)

    def draw(self) -> None:
        """Draw all views again, for a page that may show nothing yet."""
        for picture in self._pictures:
            picture.forget()
        for one in self.app.view_manager.get_views():
            one.schedule_render()

    def _crosshair(self) -> Any:
        nodes = self.scene.GetNodesByClass("vtkMRMLCrosshairNode")
        nodes.UnRegister(None)
        return nodes.GetItemAsObject(0)
