"""What a reader would lose inside a session: growth, answers, DICOM's facts; and what a page may not make it do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trame_slicer", reason="LEFT OUT: sessions; they need pip install 'NoduleRisk[browser]'")
sys.path.append(str(Path(__file__).resolve().parents[1] / "panel"))
import fakes

from NoduleRiskLib.browser import outlines, page
from NoduleRiskLib.browser import session as module
from NoduleRiskLib.browser.pictures import Pictures
from NoduleRiskLib.browser.session import Session
from NoduleRiskLib.browser.start import Start
from NoduleRiskLib.browser.uploads import Limits
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.reading import read

#: More turns of the loop than anything here takes.
MOST_TURNS = 2000


class Reader:
    """A session without its server: turns of its loop are made by hand."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.assessor, self.loop = fakes.FakeAssessor(), asyncio.new_event_loop()

        async def made() -> Session:
            return Session(Start("test", "secret", "", b"", "CPU", None, root, folder, Limits()))

        self.session = self.loop.run_until_complete(made())
        self.work, self.state = self.session.work, self.session.state
        self.work.logic._make_assessor = lambda package, device: self.assessor
        self.session._tabs = 1

    def turn(self, until: Callable[[], bool]) -> None:
        """Let the session work until something holds."""

        async def turns() -> None:
            ticking, quiet = asyncio.ensure_future(self.session.tick_for_ever()), 0
            for _ in range(MOST_TURNS):
                await asyncio.sleep(0.01)
                # Twice: the views follow a moment after the page.
                quiet = quiet + 1 if until() and not self.session._dirty else 0
                if quiet == 2:
                    ticking.cancel()
                    return
            raise AssertionError(self.work.state.error or "it never came")

        self.loop.run_until_complete(turns())

    def call(self, name: str, *arguments: Any) -> None:
        """What the page calls."""
        self.session.called[name](*arguments)

    def rest(self) -> None:
        """Until nothing is being done."""
        self.turn(lambda: not self.work.logic.worker.busy)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    from Testing.unit.imaging.made_scans import chest, write_series

    root = tmp_path_factory.mktemp("root")
    write_series(root / "chest", chest(), PatientID="ID-1", AcquisitionDate="20260102")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")
        yield Reader(root, tmp_path_factory.mktemp("session"))


@pytest.fixture
def reader(one: Reader) -> Reader:
    """A session with a CT and one point, graded."""
    one.work.show(fakes.lungs(), {}, [Point("N-1", fakes.PLACES[0])])
    one.rest()
    one.call("choose", one.work.state.nodules[0].mark.id)
    one.call("assess")
    one.turn(lambda: bool(one.work.state.assessment))
    one.rest()
    return one


def test_a_session_that_nobody_touches_does_nothing(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    for name in ("read_scene", "show_found"):
        monkeypatch.setattr(reader.work, name, lambda name=name: done.append(name))
    for _ in range(30):
        reader.turn(lambda: True)
    assert done == []
    assert reader.state.card["graded"]


def test_what_nobody_looks_at_is_not_graded(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALONE_S", 0.0)
    monkeypatch.setattr(reader.session, "_tabs", 0)
    reader.assessor.gate.clear()
    reader.work.assess([reader.work.state.nodules[0].mark])
    task = reader.work.state.task
    assert task
    reader.turn(task.cancelled.is_set)
    reader.assessor.gate.set()
    reader.rest()
    assert reader.work.state.task is None
    assert reader.state.error == ""


def test_growth_since_an_earlier_ct_stands_in_card_and_list(reader: Reader) -> None:
    reader.work.settings.prior = reader.work._add(fakes.lungs(places=fakes.PLACES[:2]), {})
    reader.call("compare", 120)
    reader.rest()
    assert reader.state.error == ""
    assert reader.state.card["growth"], reader.state.earlier
    assert reader.state.earlier["name"] == "lungs"
    reader.call("show_prior", True)
    reader.rest()
    assert not reader.work.settings.heatmapShown


def test_an_answer_changes_what_the_guidelines_ask(reader: Reader) -> None:
    def asked() -> dict[str, str]:
        return {one["name"]: one["value"] for one in reader.state.management["questions"]}

    reader.call("show", "tab", "management")
    reader.rest()
    assert asked()["age"] == ""
    reader.call("answer", "age", "61")
    reader.rest()
    assert asked()["age"] == "61"
    reader.call("answer", "age", "no number")
    reader.rest()
    assert "age" in reader.state.error.lower()
    assert asked()["age"] == "61"


def test_who_scrolls_does_not_wait_for_the_guidelines(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    manage = page.manage
    monkeypatch.setattr(page, "manage", lambda *arguments: (asked.append(1), manage(*arguments))[1])
    reader.call("show", "tab", "management")
    reader.rest()
    asked.clear()
    before = reader.state.slices["Red"]["at"]
    reader.call("scroll", "Red", 3)
    reader.rest()
    assert reader.state.slices["Red"]["at"] != before
    assert not asked
    reader.call("answer", "age", "47")
    reader.rest()
    assert asked


def test_grades_do_not_wait_for_guidelines_that_nobody_looks_at(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    manage = page.manage
    monkeypatch.setattr(page, "manage", lambda *arguments: (asked.append(1), manage(*arguments))[1])
    reader.call("show", "tab", "nodule")
    reader.call("answer", "age", "52")
    reader.rest()
    assert not asked
    reader.call("show", "tab", "management")
    reader.rest()
    assert asked
    assert reader.state.management["questions"]


def test_outlines_are_lines_in_the_slices_and_slicers_own_while_one_is_drawn_on(reader: Reader) -> None:
    own = reader.work._own()
    model = own.GetNodeReference(outlines.ROLE)

    def shown() -> tuple[bool, bool]:
        """As lines, and in Slicer's own way."""
        return bool(model.GetDisplayNode().GetVisibility()), bool(own.GetDisplayNode().GetVisibility2D())

    assert model.GetPolyData().GetNumberOfCells() > 6
    assert not model.GetDisplayNode().GetVisibility3D(), "the 3-D view shows smooth surfaces"
    assert shown() == (True, False)
    reader.call("use", "brush")
    reader.rest()
    assert shown() == (False, True)
    reader.call("use", "look")
    reader.rest()
    assert shown() == (True, False)
    reader.call("toggle", "outline")
    reader.rest()
    assert shown()[0] is False
    reader.call("toggle", "outline")
    reader.rest()


def test_a_ct_from_dicom_is_known_as_in_slicer(one: Reader) -> None:
    from NoduleRiskLib.slicer_scene import dicom_database, inputs

    one.call("open", "chest")
    one.turn(lambda: one.state.ct == "chest")
    one.rest()
    node, direct = one.work.settings.ct, read(one.session.start.root / "chest")
    facts = dicom_database.whole_facts(node)
    assert (facts.series_uid, facts.acquired, facts.slices) == (
        direct.dicom.series_uid,
        direct.dicom.acquired,
        direct.dicom.slices,
    )
    assert facts.study["PatientID"] == "ID-1"
    assert np.allclose(inputs.scan(node).ijk_to_ras, direct.ijk_to_ras, atol=1e-4)
    assert one.work.viewer.mode == "place", "the first click marks something"


def test_removing_and_renaming_a_point_leaves_nothing_of_it(reader: Reader) -> None:
    point = reader.work.state.nodules[0].mark.id
    reader.call("rename", point, "left {{ 7*7 }} <b>")
    reader.rest()
    assert reader.state.rows[0]["name"] == "left {{ 7*7 }} <b>"
    assert reader.work.state.assessment.point.label == "left {{ 7*7 }} <b>"
    reader.call("remove", point)
    reader.rest()
    assert reader.state.rows == []
    assert reader.state.card is None


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("choose", ("nobody",)),
        ("remove", ("nobody",)),
        ("use", ("anything",)),
        ("window", ("__class__",)),
        ("grade", ("__class__",)),
        ("show", ("trame__template_main", "<script>")),
        ("show", ("tab", "<script>")),
        ("open", ("../..",)),
        ("open", ("/etc",)),
        ("browse", ("..",)),
        ("answer", ("nobody asks", "x")),
        ("slice", ("Red", float("nan"))),
        ("slice", ("Blue", 0)),
        ("scroll", ("Red", 10**9)),
        ("opacity", (1e9,)),
        ("step", ("x",)),
        ("choose", ()),
    ],
)
def test_whatever_a_page_sends_a_session_goes_on(reader: Reader, name: str, arguments: tuple[Any, ...]) -> None:
    template = reader.state["trame__template_main"]
    reader.call(name, *arguments)
    reader.rest()
    assert reader.state["trame__template_main"] == template
    assert 0 <= reader.work.settings.opacity <= 1
    assert all(np.isfinite(one["at"]) for one in reader.state.slices.values())
    assert reader.state.rows[0]["name"] == "N-1"


def test_why_a_session_did_not_start_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = []

    async def serve(start: Any, parent: Any) -> None:
        raise RuntimeError("no memory for views")

    monkeypatch.setattr(module, "_serve", serve)
    monkeypatch.setattr(module, "_end", ended.append)
    monkeypatch.setattr(module.os, "setsid", lambda: None)
    monkeypatch.setattr(module.os, "environ", {})
    module.run("start", None)  # type: ignore[arg-type]
    assert ended == ["start"]
    assert "no memory for views" in capsys.readouterr().err


class Area:
    """A view as trame registers it."""

    def __init__(self, stream: Any) -> None:
        self.streamer, self.sized = stream, 0

    def set_streamer(self, stream: Any) -> None:
        self.streamer = stream

    def update_size(self, origin: str, size: dict[str, int]) -> None:
        self.sized += 1


def test_a_picture_that_the_page_shows_is_not_sent_again_but_to_a_page_that_is_new() -> None:
    class Stream:
        def push_content(self, name: str, meta: dict[str, Any], content: bytes) -> None:
            sent.append(content)

    sent: list[bytes] = []
    area = Area(Stream())
    pictures = Pictures(area)
    for content in (b"one", b"one", b"two", b"one"):
        area.streamer.push_content("Red", {}, content)
    assert sent == [b"one", b"two", b"one"]
    area.update_size("page", {"w": 10, "h": 10})
    area.streamer.push_content("Red", {}, b"one")
    pictures.forget()
    area.streamer.push_content("Red", {}, b"one")
    assert (sent[3:], area.sized) == ([b"one", b"one"], 1)


def test_every_change_is_drawn_once_with_one_sample_a_pixel(one: Reader) -> None:
    for view in one.work.viewer.app.view_manager.get_views():
        scheduler = view._scheduled_render.own._scheduler
        assert scheduler._interactive_quality == scheduler._still_quality
        assert view.render_window().GetMultiSamples() == 0
