"""British Thoracic Society 2015: first assessment of a nodule, and what its growth means."""

from __future__ import annotations

from . import brock, herder, mayo
from . import questions as asked
from .answer import Answer, Conclusion, Outcome, Refusal, in_percent
from .asking import Reader, answer, months_under
from .doubling_time import change_percent, doubling_time_days
from .inputs import Inputs
from .questions import rounded

NAME = "BTS 2015"
SOURCE = "Callister et al. 2015, doi 10.1136/thoraxjnl-2015-207168"
CORRECTION = "its correction, Thorax 2015;70:1188"
YOUNGEST = 18

#: Longest diameter (mm, one decimal) and volume (whole mm3) from which on a row of the first assessment holds. A
#: volume has no row of its own for 5 to 6 mm.
SIZES: tuple[tuple[float, float, str], ...] = (
    (0, 0, "under 5 mm or 80 mm3"),
    (5, float("inf"), "5 to 6 mm"),
    (6, 80, "6 to 8 mm or 80 to 300 mm3"),
    (8, 300, "8 mm or 300 mm3 or more"),
)
SMALLEST_SUBSOLID_MM, LYMPH_NODE_END_MM = 5, 10
#: Brock's and Herder's probabilities that divide the ways.
LOW, HIGH = 0.10, 0.70
#: Less change of volume is none; diameters have to grow by 2 mm, the guideline's figure for subsolid nodules.
CHANGE_PERCENT, CHANGE_MM = 25, 2
FAST_DAYS, SLOW_DAYS = 400, 600

DISCHARGE = "No follow-up."
WORK_UP = "Further work-up: biopsy, excision or other treatment, as the patient prefers and is fit for."


def bts(inputs: Inputs) -> Answer:
    """The British Thoracic Society's guideline of 2015, for nodules found by chance and at screening.

    Volume decides where it is known, else the longest diameter; both are compared as they are shown, to one decimal
    and to whole mm3. On follow-up the user's word ("stable", "growing") holds, or else what was measured: growth is
    25 % of volume, or 2 mm by diameter, for which the guideline itself gives a figure for subsolid nodules alone. A
    follow-up of less than 12 whole months counts as the one at 3 months, from 24 on as the one at 2 years. Brock's and
    Herder's probabilities are each tried over the whole range that missing inputs leave.

    References
    ----------
    Callister et al. 2015, "British Thoracic Society guidelines for the investigation and management of pulmonary
    nodules", doi 10.1136/thoraxjnl-2015-207168, and its correction (Thorax 2015;70:1188) on very small nodules after
    cancer. New nodules under 5 mm, adults only: the comparison with Fleischner 2017 that Thorax published.
    """
    return answer(NAME, rule, inputs)


def rule(inputs: Inputs, read: Reader) -> Outcome:
    """What the guideline's four algorithms say, or why it does not hold."""
    age = read.optional(inputs.age)
    if age is not None and age < YOUNGEST:
        return Refusal("BTS 2015 is for adults.", SOURCE)
    if not read.told(inputs.lesion, lambda lesion: lesion in ("nodule", asked.LYMPH_NODE)):
        return Refusal("BTS 2015 is for nodules, not for airway lesions or cysts.", SOURCE)
    if read.told(inputs.calcification, asked.benign) or read(inputs.fat):
        return _say("benign", DISCHARGE, "benign calcification or fat")
    lymph_node = read.told(inputs.lesion, lambda lesion: lesion == asked.LYMPH_NODE)
    if lymph_node and read.told(inputs.size, lambda size: size.long_mm < LYMPH_NODE_END_MM):
        return _say("benign", DISCHARGE, "perifissural or subpleural, smooth, oval or triangular, under 10 mm")
    solid = read.told(inputs.nodule_type, lambda kind: kind == "solid")
    change = _change(inputs, read, solid)
    if change == "gone":
        return _say("resolved", DISCHARGE, "the nodule is gone")
    if change in ("baseline", "new"):
        return _first_solid(inputs, read, change) if solid else _first_subsolid(inputs, read)
    return _later_solid(inputs, read, change) if solid else _later_subsolid(inputs, read, change)


# --- first assessment ---


def _first_solid(inputs: Inputs, read: Reader, change: str) -> Conclusion:
    volume = read.optional(inputs.volume_mm3)
    size, _ = _size(inputs, read, volume)
    notes = _other_size(inputs, read, volume, size)
    if size == SIZES[0][2]:
        if change == "new":
            return _say("small, new", "Follow-up CT, as it is new.", f"{size}, new within 1 or 2 years", notes)
        if read.told(inputs.cancer, lambda cancer: cancer != "none"):
            advice = "Whether to follow up is a matter of clinical judgement."
            return _say("small, earlier cancer", advice, f"{size}, earlier cancer; {CORRECTION}", notes)
        return _say("small", DISCHARGE, f"solid, {size}", notes)
    if size == SIZES[1][2]:
        return _say(size, "CT 12 months after the first.", f"solid, {size}", notes)
    if size == SIZES[2][2]:
        return _say(size, "CT 3 months after the first.", f"solid, {size}", notes)
    return _by_risk(inputs, read, f"solid, {size}", notes)


def _by_risk(inputs: Inputs, read: Reader, row: str, notes: tuple[str, ...]) -> Conclusion:
    """Large solid nodules: by Brock's probability, and after PET-CT by Herder's."""
    low, high = brock.MODEL.risk(inputs, read)
    if not read.reaches("Brock", low, high, LOW):
        return _say("Brock under 10 %", "CT 3 months after the first.", f"{row}, Brock {in_percent(low, high)}", notes)
    row = f"{row}, Brock {in_percent(low, high)}"
    if read.told(inputs.pet, lambda pet: pet == "not done"):
        return _say("Brock 10 % or more", "PET-CT; then Herder's model.", row, notes)
    if refusal := mayo.outside(inputs, read):
        advice = f"Discuss in a multidisciplinary meeting: Herder's model does not hold. {refusal.sentence}"
        return _say("Brock 10 % or more, Herder does not hold", advice, row, notes)
    low, high = herder.risk(inputs, read)
    row = f"{row}, Herder {in_percent(low, high)}"
    if not read.reaches("Herder from 10 %", low, high, LOW):
        return _say("Herder under 10 %", "CT surveillance.", row, notes)
    # More than 70 %, not 70 % itself.
    if not read.reaches("Herder over 70 %", low, high, HIGH + 1e-9):
        advice = "Biopsy; or excision or CT surveillance, by the patient's risk and wish."
        return _say("Herder 10 to 70 %", advice, row, notes)
    return _say("Herder over 70 %", "Excision, or non-surgical treatment, with or without biopsy.", row, notes)


def _first_subsolid(inputs: Inputs, read: Reader) -> Conclusion:
    longest = rounded(read(inputs.size).long_mm, 1)
    if longest < SMALLEST_SUBSOLID_MM:
        return _say("small", DISCHARGE, "subsolid, under 5 mm")
    return _say("subsolid, 5 mm or more", "CT 3 months after the first.", "subsolid, 5 mm or more")


# --- follow-up ---


def _later_solid(inputs: Inputs, read: Reader, change: str) -> Conclusion:
    doubling = _doubling(inputs, read, change)
    if change == "growing" and doubling is None:
        return _say("clear growth", WORK_UP, "solid, clear growth")
    if doubling is not None and doubling <= FAST_DAYS:
        return _say("doubling in 400 days or less", WORK_UP, "solid, volume doubles in 400 days or less")
    if months_under(inputs, read, 12):
        return _say("no fast growth at 3 months", "CT 12 months after the first.", "solid, at 3 months, no fast growth")
    by_volume = _volumes(inputs, read) is not None
    if doubling is not None:
        return _slow(doubling, by_volume)
    row = f"solid, {change}, change of volume under 25 % or no growth by diameter"
    if by_volume:
        return _say("stable by volume", DISCHARGE, row)
    if months_under(inputs, read, 24):
        return _say("stable by diameter at 12 months", "CT 24 months after the first.", row)
    return _say("stable by diameter at 24 months", DISCHARGE, row)


def _slow(doubling: float, by_volume: bool) -> Conclusion:
    """Solid nodules that still grow at 12 months, but not fast."""
    if doubling <= SLOW_DAYS:
        advice = "Biopsy, or further CT, as the patient prefers."
        return _say("doubling in 400 to 600 days", advice, "solid, at 12 months, volume doubles in 400 to 600 days")
    row = "solid, at 12 months, volume doubles in more than 600 days"
    if by_volume:
        advice = "No further follow-up, or further CT, as the patient prefers."
        return _say("doubling in more than 600 days", advice, row)
    return _say("doubling in more than 600 days, by diameter", "Further CT.", f"{row}, measured by diameter")


def _later_subsolid(inputs: Inputs, read: Reader, change: str) -> Conclusion:
    if change in ("growing", "slowly growing", "new solid part"):
        row = "subsolid, new solid part" if change == "new solid part" else "subsolid, growth of 2 mm or more"
        return _say("subsolid, growing", "Resection or other treatment is favoured, or biopsy.", row)
    low, high = brock.MODEL.risk(inputs, read)
    row = f"subsolid, {change}, Brock {in_percent(low, high)}"
    if read.reaches("Brock", low, high, LOW):
        return _say("subsolid, Brock 10 % or more", "Discuss CT surveillance, biopsy and resection.", row)
    return _say("subsolid, Brock under 10 %", "CT 1, 2 and 4 years after the first.", row)


def _change(inputs: Inputs, read: Reader, solid: bool) -> str:
    """What became of the nodule: as told, or else as measured."""
    earlier = read.optional(inputs.earlier)
    if inputs.comparison.value is not None or earlier is None:
        return read(inputs.comparison)
    volumes = _volumes(inputs, read) if solid else None
    if volumes is not None:
        percent = change_percent(*volumes)
        return "growing" if percent >= CHANGE_PERCENT else "smaller" if percent <= -CHANGE_PERCENT else "stable"
    part = read.optional(inputs.solid_part)
    if not solid and earlier.solid_part is not None and earlier.solid_part.long_mm == 0 and part and part.long_mm > 0:
        return "new solid part"
    larger = rounded(rounded(read(inputs.size).long_mm, 1) - rounded(earlier.size.long_mm, 1), 1)
    return "growing" if larger >= CHANGE_MM else "smaller" if larger <= -CHANGE_MM else "stable"


def _doubling(inputs: Inputs, read: Reader, change: str) -> float | None:
    """Days in which a growing nodule's volume doubles: as told, or as measured; ``None`` without growth."""
    if change not in ("growing", "slowly growing"):
        return None
    told = read.optional(inputs.doubling_time_days)
    earlier = read.optional(inputs.earlier)
    if told is not None or earlier is None:
        # That it clearly grows is enough; how fast is asked only where it grows slowly.
        return told if told is not None or change == "growing" else read(inputs.doubling_time_days)
    if (volumes := _volumes(inputs, read)) is not None:
        return doubling_time_days(*volumes, earlier.days)
    return doubling_time_days(earlier.size.long_mm, read(inputs.size).long_mm, earlier.days, dimensions=1)


def _volumes(inputs: Inputs, read: Reader) -> tuple[float, float] | None:
    """Volume on the earlier and on this CT, if both are known."""
    earlier, volume = read.optional(inputs.earlier), read.optional(inputs.volume_mm3)
    before = None if earlier is None else earlier.volume_mm3
    return None if before is None or volume is None else (before, volume)


# --- words ---


def _size(inputs: Inputs, read: Reader, volume: float | None) -> tuple[str, str]:
    """The row of ``SIZES``, and the size that led there."""
    if volume is None:
        longest = rounded(read(inputs.size).long_mm, 1)
        return next(name for mm, _, name in reversed(SIZES) if mm <= longest), f"{longest:.1f} mm"
    whole = rounded(volume, 0)
    return next(name for _, mm3, name in reversed(SIZES) if mm3 <= whole), f"{whole:.0f} mm3"


def _other_size(inputs: Inputs, read: Reader, volume: float | None, size: str) -> tuple[str, ...]:
    """A note where the longest diameter leads to another row than the volume."""
    if volume is None or read.optional(inputs.size) is None:
        return ()
    other, shown = _size(inputs, read, None)
    return () if other == size else (f"By its longest diameter of {shown} it would be {other}.",)


def _say(category: str, advice: str, row: str, notes: tuple[str, ...] = ()) -> Conclusion:
    return Conclusion(category, advice, row, SOURCE, notes)
