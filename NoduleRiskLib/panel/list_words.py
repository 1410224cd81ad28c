"""What the list says of one nodule: figures and notes. Needs no Qt; the page in a browser shows the same."""

from __future__ import annotations

from ..results.phrases import percent
from .view_state import NEW, OUTDATED, OUTSIDE, ListedNodule

TIPS = {NEW: "Not assessed yet.", OUTSIDE: "The point lies outside the CT: move it onto the image."}
#: Said of outlines that the user or another tool drew, in the list and in the card.
DRAWN, DRAWN_TIP = "drawn by you", "Graded at the outline drawn by you."


def cells(nodule: ListedNodule) -> tuple[str, str, str, str]:
    """Malignancy, suspicion probability, diameter and notes; empty where not assessed."""
    row, notes = nodule.row, _notes(nodule)
    if row is None:
        return "", "", "", notes
    if not row.found:
        return "–", "–", "–", notes or "no nodule"
    return (
        f"{row.columns['malignancy']:.1f}",
        percent(row.columns["suspicion_probability"]),
        f"{row.columns['diameter']:.1f} mm",
        notes,
    )


def _notes(nodule: ListedNodule) -> str:
    """What holds of this nodule, in a few words; how many more warnings there are, which the tool tip says."""
    state = {NEW: "new", OUTSIDE: "outside", OUTDATED: "outline edited" if nodule.edited else "outdated"}
    if nodule.row and not nodule.row.found:
        return state.get(nodule.state, "")
    drawn = DRAWN if nodule.row and nodule.row.by_user and not nodule.edited else ""
    more = sum(not one.doubt for one in nodule.warnings)
    words = (state.get(nodule.state, ""), *nodule.doubts, nodule.growth[0] if nodule.growth else "", drawn)
    return " ".join(filter(None, (", ".join(filter(None, words)), f"⚠\N{NO-BREAK SPACE}{more}" if more else "")))
