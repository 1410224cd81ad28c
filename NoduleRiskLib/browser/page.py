"""What the page shows, as plain values: the display tables of panel and report, nothing worded anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import NoduleRiskError
from ..explain import heatmap_faithfulness
from ..grades import GRADES
from ..guidelines.answer import RESEARCH_USE
from ..guidelines.lines import answer_line, input_lines
from ..guidelines.management import manage
from ..guidelines.questions import NOT_ASKED, QUESTIONS, said
from ..panel.list_words import DRAWN_TIP, TIPS, cells
from ..panel.view_state import ASSESSED, ListedNodule, ViewState
from ..results.account_lines import TITLE, account_lines, account_sentence
from ..results.grade_lines import GradeLine, grade_lines
from ..results.phrases import SUSPICION_MEANS, measured_on, percent, place, repeatability, size, solid_part
from ..results.similar_lines import PICTURES_FROM, similar_lines, similar_sentence
from ..results.similar_lines import TITLE as SIMILAR
from ..slicer_scene import answers, dicom_database, followups
from ..slicer_scene.display import HEAT, heat_rgb

if TYPE_CHECKING:
    from ..guidelines.management import Grown
    from ..imaging.dicom_facts import DicomFacts
    from ..results.assessment import Assessment
    from ..results.nodule import Nodule


def legend() -> str:
    """The heatmap's colours as a CSS gradient, from no evidence to most."""
    steps = (f"rgb{heat_rgb(share)} {100 * share:.0f}%" for share, *_ in HEAT)
    return f"linear-gradient(to right, {', '.join(steps)})"


def rows(state: ViewState) -> list[dict[str, Any]]:
    """The list: one row for each point, with the panel's words."""
    return [_row(one, state) for one in state.nodules]


def _row(nodule: ListedNodule, state: ViewState) -> dict[str, Any]:
    malignancy, suspicion, diameter, notes = cells(nodule)
    drawn = DRAWN_TIP if nodule.row and nodule.row.by_user else ""
    more = (TIPS.get(nodule.state, ""), nodule.outdated, *(one.text for one in nodule.warnings), drawn)
    return {
        "id": nodule.mark.id,
        "name": nodule.mark.point.label,
        "malignancy": malignancy,
        "suspicion": suspicion,
        "diameter": diameter,
        "notes": notes,
        "tip": "\n".join(filter(None, more)),
        "doubtful": bool(nodule.doubts),
        "chosen": state.chosen is not None and nodule.mark.id == state.chosen.mark.id,
    }


def card(state: ViewState) -> dict[str, Any] | None:
    """The chosen nodule's card; ``None`` where none is chosen."""
    chosen, held = state.chosen, state.assessment
    if chosen is None:
        return None
    nodule = held.nodule if held else None
    return {
        "id": chosen.mark.id,
        "name": chosen.mark.point.label,
        "place": place(chosen.mark.point.ras),
        "graded": nodule is not None,
        "current": chosen.state == ASSESSED,
        "suspicion": percent(nodule.suspicion_probability) if nodule else "",
        "means": f"{SUSPICION_MEANS}: readers’ suspicion, not pathology",
        "sizes": ", ".join(filter(None, (*size(nodule.outline), solid_part(nodule)))) if nodule else "",
        "measured": measured_on(nodule.outline) if nodule else "",
        "repeatability": repeatability(nodule) if nodule else "",
        "doubts": ", ".join(chosen.doubts),
        "warnings": [
            *filter(None, [chosen.outdated, TIPS.get(chosen.state, "") if not nodule else ""]),
            *(one.text for one in sorted(chosen.warnings, key=lambda one: not one.doubt)),
        ],
        "growth": chosen.growth[1] if chosen.growth else "",
        "grades": [_grade(line, n) for n, line in enumerate(grade_lines(nodule))],
        "own": bool(chosen.outline),
        "aside": chosen.aside and not chosen.outline,
        "edited": chosen.edited,
        "heatmap": heatmap_words(held, state),
        "account": _account(nodule),
        "similar": _similar(nodule),
    }


def heatmap_words(held: Assessment | None, state: ViewState) -> str:
    """How far the shown heatmap may be trusted; nothing where there is none."""
    if held is None or held.nodule is None or not held.nodule.heatmaps:
        return ""
    return heatmap_faithfulness.told(held.model_id, state.parameters.grade)


def _grade(line: GradeLine, n: int) -> dict[str, Any]:
    unit = f" {line.unit}" if line.value and line.unit else ""
    return {
        "name": line.name,
        "value": f"{line.value}{unit}",
        "interval": line.interval,
        "word": line.word,
        "below": line.below,
        "low": 100 * (line.low or 0),
        "wide": 100 * ((line.high or 0) - (line.low or 0)),
        "at": 100 * (line.at or 0),
        "marks": [{"at": 100 * at, "text": text} for at, text in line.marks],
        "tip": GRADES[n].high_means,
    }


def _account(nodule: Nodule | None) -> dict[str, Any] | None:
    if nodule is None or nodule.account is None:
        return None
    lines = [
        {
            "name": line.name,
            "adds": line.adds,
            "from": 100 * line.ends[0],
            "wide": 100 * (line.ends[1] - line.ends[0]),
            "colour": line.colour,
        }
        for line in account_lines(nodule)
    ]
    return {"title": TITLE, "lines": lines, "sentence": account_sentence(nodule)}


def _similar(nodule: Nodule | None) -> dict[str, Any] | None:
    if nodule is None or not nodule.similar:
        return None
    lines = [
        {"name": line.name, "size": line.size, "malignancy": line.malignancy, "picture": line.source}
        for line in similar_lines(nodule)
    ]
    return {"title": SIMILAR, "lines": lines, "sentence": similar_sentence(nodule), "from": PICTURES_FROM}


class Guidelines:
    """What the guidelines say of the chosen nodule, worked out once: the page is brought up to date as slices move."""

    def __init__(self) -> None:
        self._of: object = None
        self._said: dict[str, Any] | None = None

    def management(self, state: ViewState) -> dict[str, Any] | None:
        """What they say and what they ask; ``None`` where the nodule is not graded."""
        chosen, held = state.chosen, state.assessment
        if chosen is None or held is None:
            return None
        told, facts = answers.answers_of(state.table, chosen.mark.id), dicom_database.facts_of(state.ct)
        grown = state.growth.get(chosen.mark.id)
        wanted = (chosen, held, told, facts, grown)
        if wanted != self._of:
            self._of, self._said = wanted, _management(chosen, held, told, facts, grown)
        return self._said


def _management(
    chosen: ListedNodule, held: Assessment, told: dict[str, Any], facts: DicomFacts | None, grown: Grown | None
) -> dict[str, Any]:
    cautions = [chosen.outdated] if chosen.outdated else []
    found = None
    try:
        found = manage(held, facts, told, grown.earlier() if grown else None)
    except NoduleRiskError as error:
        cautions.append(str(error))
    if found is None:
        return {"cautions": cautions, "answers": [], "questions": [], "use": RESEARCH_USE}
    lines = [answer_line(one) for one in found.answers]
    return {
        "cautions": [*cautions, *found.cautions],
        "answers": [
            {
                "name": line.name,
                "short": line.short,
                "settled": line.settled,
                "outcomes": [
                    {"category": one.category if len(line.outcomes) > 1 else "", "text": one.sentence, "by": one.by}
                    for one in line.outcomes
                ],
                "open": [
                    {"what": what, "text": one.full}
                    for what, opened in (("Missing", line.missing), ("Not confirmed", line.unconfirmed))
                    for one in opened
                ],
                "assumed": "; ".join(one.taken for one in line.assumed),
            }
            for line in lines
        ],
        "questions": [
            {
                "name": line.name,
                "label": line.label,
                "value": line.value.removesuffix(f" {QUESTIONS[line.name].unit}"),
                "origin": line.origin,
                "unit": QUESTIONS[line.name].unit,
                "wanted": line.wanted,
                "choices": [said(choice) for choice in QUESTIONS[line.name].choices],
            }
            for line in input_lines(found.inputs, found.answers)
            if line.name not in NOT_ASKED
        ],
        "use": RESEARCH_USE,
    }


def follow_up(state: ViewState) -> dict[str, Any]:
    """The earlier CT: its name, and sentences about nodules that are gone and about the whole comparison."""
    prior = state.parameters.prior
    return {"name": prior.GetName() if prior else "", "notes": list(followups.notes(state.table))}


def status(state: ViewState, before: int, reading: str) -> str:
    """What is going on, in a few words; nothing if nothing is."""
    if reading:
        return f"Reading {reading} …"
    if state.comparison:
        return "Comparing both CTs …" if not before else _waiting(before)
    if state.task:
        if state.task.cancelled.is_set():
            return "Stopping …"
        return _waiting(before) if before else f"Grading nodule {state.finished + 1} of {state.asked} …"
    return ""


def _waiting(before: int) -> str:
    return f"Waiting: {before} {'reader is' if before == 1 else 'readers are'} before you …"
