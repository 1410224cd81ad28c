"""What a radiologist would lose, or be told wrongly, by the report of a CT."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_results import CENTRE, doubtful, nodule, nothing, scan

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.guidelines import Axes, Earlier
from NoduleRiskLib.imaging.dicom_facts import DicomFacts, DicomSlice
from NoduleRiskLib.imaging.lung_place import LungPlace
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.report import examination as examining
from NoduleRiskLib.report import words, write_report
from NoduleRiskLib.report.document import content
from NoduleRiskLib.report.examination import Examination, examination
from NoduleRiskLib.report.pictures import PICTURES
from NoduleRiskLib.report.text import pasted, sentence, text
from NoduleRiskLib.results.assessment import Assessment

#: What would run, or pull a page apart, if it were taken for HTML.
NASTY = "<script>alert(1)</script> & \"'{{ 7 * 7 }}"
MODEL = {"name": "toy", "version": "1.2", "digest": "ab" * 32}


@pytest.fixture(scope="module")
def volume() -> Volume:
    return scan()


@pytest.fixture(scope="module")
def dicom(volume: Volume) -> Volume:
    slices = {k: DicomSlice(200 - k, f"1.2.840.{k}") for k in range(len(volume.array))}
    facts = DicomFacts(61.0, "male", "20260102", "3", 2.0, "B30f", "", slices)
    return replace(volume, dicom=facts, identity={"SeriesInstanceUID": "1.2.3"})


@pytest.fixture(scope="module")
def one(volume: Volume) -> Assessment:
    return nodule(volume)


@pytest.fixture(autouse=True)
def placed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy scan is a crop, in which no lungs can be told."""
    monkeypatch.setattr(examining, "lung_place", lambda volume, ras: LungPlace("right", "upper third"))


@dataclass(frozen=True)
class Grown:
    """A nodule that an earlier CT shows, too."""

    sentence: str

    def earlier(self) -> Earlier:
        return Earlier(120, Axes(6, 6), 113.0)


class Page(HTMLParser):
    """The tags, addresses and visible text of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data if self.tags[-1:] != ["style"] else ""


def as_pdf(report: Examination) -> str:
    import pypdfium2

    pages = pypdfium2.PdfDocument(content(".pdf", report))
    return "\n".join(page.get_textpage().get_text_bounded() for page in pages)


def plain(told: str) -> str:
    return " ".join(told.split())


def in_all(report: Examination) -> dict[str, str]:
    """The words of a report as each kind of file shows them; where a PDF breaks a line does not matter."""
    html = Page(content(".html", report).decode())
    return {"html": plain(html.text), "pdf": plain(as_pdf(report)), "txt": plain(content(".txt", report).decode())}


# --- a nodule in words ---


def test_the_sentence_is_a_radiologists(dicom: Volume, one: Assessment) -> None:
    (finding,) = examination(dicom, [one], [{"nodule_type": "solid", "lobe": "upper"}]).findings
    assert one.nodule is not None
    k = round(float(dicom.to_ijk(one.nodule.outline.centre_ras)[2]))
    told = sentence(finding)
    size = r"\d+\.\d x \d+\.\d mm \(mean \d+\.\d mm\), \d+ mm3"
    assert re.fullmatch(
        rf"Solid nodule, {size}, right lung, upper third, upper lobe, image {200 - k}, series 3\.", told
    )
    assert finding.image.sop_uid == f"1.2.840.{k}"


def test_what_is_not_known_is_a_question_mark_and_no_guess(
    volume: Volume, one: Assessment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "lung_place", lambda volume, ras: LungPlace())
    (finding,) = examination(volume, [one]).findings
    assert finding.place == "side ?, lobe ?"
    # A file has no image numbers.
    assert re.fullmatch(r"slice \d+ of 30", finding.slice)


def test_sizes_are_those_of_the_card_and_the_users_stand_above_them(volume: Volume, one: Assessment) -> None:
    assert one.nodule is not None
    outline = one.nodule.outline
    (measured,) = examination(volume, [one]).findings
    assert f"(mean {outline.diameter_mm:.1f} mm)" in measured.size
    (told,) = examination(volume, [one], [{"size": Axes(9.0, 8.0)}]).findings
    assert told.size == "9.0 x 8.0 mm (mean 8.5 mm)"


def test_the_list_names_the_category_of_lung_rads(volume: Volume, one: Assessment) -> None:
    said = {"nodule_type": "solid", "calcification": "absent", "setting": "screening", "size": Axes(9.0, 8.0)}
    settled, empty = examination(volume, [one, nothing()], [said, {}]).findings
    # The table's row: solid, 8 mm to below 15 mm, baseline.
    assert settled.lung_rads.startswith("4A") and empty.lung_rads == ""
    for kind, told in in_all(examination(volume, [one], [said])).items():
        if kind != "txt":
            listed = told[: told.index(words.SUSPICION_NOTE)]
            assert words.LUNG_RADS in listed and settled.lung_rads in listed, kind


def test_the_text_to_paste_has_answers_and_what_they_lack(dicom: Volume, one: Assessment) -> None:
    said = {"setting": "screening", "smoked": True}
    told = pasted(examination(dicom, [one], [said]))
    for words_of_it in ("1. nodule 1: ", "Lung-RADS v2022: ", "Fleischner 2017: does not apply. ", "Not known: "):
        assert words_of_it in told
    assert "Proposed by the network, not confirmed: " in told and words.RESEARCH in told
    # Suspicion is no part of what is pasted.
    assert "67" not in told and "uspicion" not in told


def test_what_was_confirmed_is_proposed_no_more(dicom: Volume, one: Assessment) -> None:
    said = {"nodule_type": "solid", "calcification": "absent", "spiculation": False}
    told = pasted(examination(dicom, [one], [said]))
    assert "not confirmed" not in told and "not spiculated" in told.lower()


def test_growth_is_told_and_reaches_the_guidelines(volume: Volume, one: Assessment) -> None:
    said = [{"setting": "screening", "nodule_type": "solid", "calcification": "absent"}]
    told = pasted(examination(volume, [one], said, growth=[Grown("Growing: twice as large.")]))
    assert "Growing: twice as large." in told
    assert "Lung-RADS v2022: 4B." in told and "Lung-RADS v2022: 4A." in pasted(examination(volume, [one], said))


# --- the whole report ---


def test_every_kind_says_the_same(dicom: Volume, one: Assessment) -> None:
    report = examination(dicom, [one], [{"setting": "screening"}], MODEL)
    (finding,) = report.findings
    wanted = [words.RESEARCH, "Study date", "2026-01-02", "61 years, male", finding.size, "SHA-256 " + "ab" * 32]
    wanted += [finding.image.sop_uid, *finding.warnings, *report.warnings]
    wanted += [part for line in finding.answers for part in (line.name, line.short)]
    for kind, shown in in_all(report).items():
        squeezed = shown.replace(" ", "")
        for part in wanted:
            assert plain(part).replace(" ", "") in squeezed, (kind, part)


@pytest.mark.parametrize("kind", ["html", "pdf"])
def test_documents_tell_what_each_missing_input_could_change_and_the_source(
    dicom: Volume, one: Assessment, kind: str
) -> None:
    report = examination(dicom, [one])
    shown = in_all(report)[kind].replace(" ", "")
    (finding,) = report.findings
    parts = [opened.full for line in finding.answers for opened in line.missing]
    parts += [outcome.by for line in finding.answers for outcome in line.outcomes]
    assert len(parts) > 10
    assert [part for part in parts if plain(part).replace(" ", "") not in shown] == []


def test_a_doubt_comes_before_what_it_is_about(dicom: Volume, one: Assessment) -> None:
    report = examination(dicom, [doubtful(one, "vessel?", "outline unsure")])
    for kind, shown in in_all(report).items():
        card = shown[shown.rindex("1. nodule 1") :]
        caution = card.index("Doubtful (vessel?, outline unsure)")
        assert caution < card.index("Lung-RADS"), kind
        assert caution < card.index(report.findings[0].size), kind


def test_where_nothing_was_outlined_nothing_is_answered(dicom: Volume) -> None:
    report = examination(dicom, [nothing()])
    for kind, shown in in_all(report).items():
        assert words.NO_NODULE in shown and "Lung-RADS v2022" not in shown, kind


def test_names_from_files_and_headers_are_text_and_nothing_else(dicom: Volume, one: Assessment) -> None:
    assert dicom.dicom is not None
    nasty = replace(dicom, name=NASTY, warnings=(NASTY,), dicom=replace(dicom.dicom, kernel=NASTY))
    labelled = replace(one, point=replace(one.point, label=NASTY))
    report = examination(nasty, [labelled], growth=[Grown(NASTY)])
    page = Page(content(".html", report).decode())
    assert "script" not in page.tags and not any(name.startswith("on") for name in page.attributes)
    assert plain(page.text).count(NASTY) >= 5
    assert as_pdf(report).replace("\n", " ").replace("\r", "").count("alert(1)") >= 5
    assert NASTY in text(report)


def test_control_signs_in_a_name_do_not_break_lines_or_command_a_terminal(volume: Volume, one: Assessment) -> None:
    labelled = replace(one, point=replace(one.point, label="a\n\x1b[2Jb\x00"))
    told = pasted(examination(volume, [labelled]))
    assert "1. a  [2Jb : " in told
    assert content(".pdf", examination(volume, [labelled])).startswith(b"%PDF")


def test_the_html_needs_no_other_file_and_no_network(dicom: Volume, one: Assessment) -> None:
    page = Page(content(".html", examination(dicom, [one, one])).decode())
    pictures = [one for one in page.addresses if not one.startswith("#")]
    assert len(pictures) == 2 * len(PICTURES)
    for address in pictures:
        head, _, data = address.partition(",")
        assert head == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")


def test_windows_differ_and_pictures_show_the_nodule(volume: Volume, one: Assessment) -> None:
    import io

    import numpy as np
    from matplotlib.image import imread

    from NoduleRiskLib.report.pictures import pictures

    shown = {
        name: imread(io.BytesIO(png))[..., :3]
        for name, png in pictures(volume, examination(volume, [one]).findings[0]).items()
    }
    middle = {name: picture[150:160, 150:160].mean() for name, picture in shown.items()}
    # 40 HU: near white in the lung window, grey in the soft-tissue window; lung is grey, and black.
    assert middle["axial lung"] > 0.9 and 0.4 < middle["axial soft"] < 0.6
    corner = {name: np.median(picture[60:100, 60:100]) for name, picture in shown.items()}
    assert 0.25 < corner["axial lung"] < 0.45 and corner["axial soft"] == 0
    colour = {name: (picture.max(-1) - picture.min(-1)).max() for name, picture in shown.items()}
    assert colour["axial outline"] > 0.3 and max(colour["axial lung"], colour["axial soft"]) < 0.05
    assert np.linalg.norm(CENTRE - one.point.ras) < 2


# --- files ---


@pytest.mark.parametrize("kind", ["html", "pdf", "txt"])
def test_a_report_is_written_whole_under_its_name(tmp_path: Path, volume: Volume, one: Assessment, kind: str) -> None:
    file = tmp_path / "new" / f"report.{kind.upper()}"
    write_report(file, volume, [one], {"age": 61, "nodules": {"nodule 1": {"lobe": "upper"}}}, MODEL)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert b"%PDF" in file.read_bytes() if kind == "pdf" else "upper lobe" in file.read_text("utf-8")


@pytest.mark.parametrize("name", ["report.docx", "report", ".html"])
def test_another_ending_is_one_sentence(tmp_path: Path, volume: Volume, one: Assessment, name: str) -> None:
    with pytest.raises(NoduleRiskError, match=r"ends in \.html, \.pdf or \.txt") as refused:
        write_report(tmp_path / name, volume, [one])
    assert str(refused.value).endswith(".")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_is_one_sentence(tmp_path: Path, volume: Volume, one: Assessment) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NoduleRiskError, match="could not be written"):
        write_report(tmp_path / "file" / "report.txt", volume, [one])


@pytest.mark.parametrize(("kind", "lacking"), [("html", "jinja2"), ("pdf", "reportlab")])
def test_a_library_that_is_missing_is_named(
    tmp_path: Path, volume: Volume, one: Assessment, kind: str, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(NoduleRiskError, match=lacking):
        write_report(tmp_path / f"report.{kind}", volume, [one])


def test_answers_that_contradict_the_outline_are_one_sentence(tmp_path: Path, volume: Volume, one: Assessment) -> None:
    with pytest.raises(NoduleRiskError, match="cannot be larger"):
        write_report(tmp_path / "report.txt", volume, [one], {"solid_part": 30})


# --- words ---


def test_no_word_of_the_report_stands_anywhere_else() -> None:
    """A translation is another module of these names."""
    folder = Path(words.__file__).parent
    used = "".join(file.read_text("utf-8") for file in folder.iterdir() if file.suffix in (".py", ".html"))
    names = [name for name in vars(words) if name.isupper()]
    assert [name for name in names if f"words.{name}" not in used] == []
    template = (folder / "report.html").read_text("utf-8")
    body = re.sub(r"{[{%].*?[%}]}|<style>.*?</style>", "", template[template.index("<body>") :], flags=re.DOTALL)
    assert re.findall(r">[^<]*[A-Za-z]{3,}[^<]*<", body) == []
