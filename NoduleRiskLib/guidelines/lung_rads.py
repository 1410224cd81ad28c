"""Lung-RADS v2022: the category of a nodule on a lung cancer screening CT, and what follows from it."""

from __future__ import annotations

from . import questions as asked
from .answer import Answer, Conclusion, Outcome, Refusal
from .asking import Reader, answer, months_under
from .inputs import Earlier, Inputs
from .questions import Axes, rounded

NAME = "Lung-RADS v2022"
SOURCE = "ACR Lung-RADS v2022, doi 10.1016/j.jacr.2023.09.009"

ADVICE = {
    "1": "Next yearly screening CT in 12 months.",
    "2": "Next yearly screening CT in 12 months.",
    "3": "Low-dose CT in 6 months.",
    "4A": "Low-dose CT in 3 months.",
    "4B": "Refer for work-up: chest CT with or without contrast, PET/CT or tissue sampling.",
    "4X": "Refer for work-up: chest CT with or without contrast, PET/CT or tissue sampling.",
}
#: Added to 4A where the nodule, or the solid part of it, reaches the second step.
PET_ADVICE = "PET/CT may be considered, as what is solid has 8 mm or more."
PET_STEPS: Steps = ((0, 0, "no"), (8, 268, "yes"))

#: Steps of mean diameter (mm) and volume (mm3) from which on a category holds.
Steps = tuple[tuple[float, float, str], ...]
SOLID: dict[str, Steps] = {
    "baseline": ((0, 0, "2"), (6, 113, "3"), (8, 268, "4A"), (15, 1767, "4B")),
    "new": ((0, 0, "2"), (4, 34, "3"), (6, 113, "4A"), (8, 268, "4B")),
    "growing": ((0, 0, "4A"), (8, 268, "4B")),
}
#: Of part-solid nodules, by the size of the whole and then by that of the solid part.
PART_SOLID_WHOLE: dict[str, Steps] = {
    "baseline": ((0, 0, "2"), (6, 113, "by solid part")),
    "new": ((0, 0, "3"), (6, 113, "by solid part")),
}
PART_SOLID_PART: dict[str, Steps] = {
    "baseline": ((0, 0, "3"), (6, 113, "4A"), (8, 268, "4B")),
    "new": ((0, 0, "4A"), (4, 34, "4B")),
    "growing": ((0, 0, "4A"), (4, 34, "4B")),
}
NON_SOLID: dict[str, Steps] = {
    "baseline": ((0, 0, "2"), (30, 14137, "3")),
    "new": ((0, 0, "2"), (30, 14137, "3")),
    # The table names growth below 30 mm; from there on its rule for crossed size thresholds holds.
    "growing": ((0, 0, "2"), (30, 14137, "3")),
    "slowly growing": ((0, 0, "2"),),
    "stable": ((0, 0, "2"),),
    "smaller": ((0, 0, "2"),),
}
LYMPH_NODE: Steps = ((0, 0, "2"), (10, 524, "as solid"))

#: Airway lesions and cysts, by what became of them.
AIRWAY = {
    (asked.SMALL_AIRWAY, "baseline"): "2",
    (asked.SMALL_AIRWAY, "new"): "2",
    (asked.SMALL_AIRWAY, "stable"): "2",
    (asked.LARGE_AIRWAY, "baseline"): "4A",
    (asked.LARGE_AIRWAY, "new"): "4A",
    (asked.LARGE_AIRWAY, "stable"): "4B",
    (asked.LARGE_AIRWAY, "growing"): "4B",
    (asked.LARGE_AIRWAY, "slowly growing"): "4B",
}
#: In the order of ``CYST_CHANGES``. A thick-walled cyst with more than one locule became multilocular.
CYST = {
    asked.THICK_CYST: dict(zip(asked.CYST_CHANGES, ("4A", "3", "4B", "4A", "4A"), strict=True)),
    asked.MULTILOCULAR_CYST: dict(zip(asked.CYST_CHANGES, ("4A", "4B", "4B", "4A", "4B"), strict=True)),
}

#: More than this within 12 months is growth; as much over a longer time is slow growth.
GROWTH_MM = 1.5
#: Stepped management: the earlier category of what is stable or smaller, months after which it steps down, and to what.
STEPS_DOWN = {"3": (6, "2"), "4A": (3, "3")}

_Found = tuple[str, str]


def lung_rads(inputs: Inputs) -> Answer:
    """Lung-RADS v2022 of one nodule.

    Sizes are mean diameters: both axes are rounded to one decimal, and so is their mean; volumes are rounded to whole
    mm3. The diameter decides where it is known; where the volume would lead elsewhere, a note says so. What became of
    the nodule since the earlier CT is what the user says, or else follows from ``Inputs.earlier`` by Lung-RADS' own
    definition of growth. The modifier S (another significant finding) is the reader's to add.

    References
    ----------
    Christensen et al. 2024, "ACR Lung-RADS v2022: assessment categories and management recommendations",
    doi 10.1016/j.jacr.2023.09.009; wording of the table checked in RadElement set RDES267. That a new lesion in a large
    airway is 4A and that a nodule which crosses a size threshold is classified by its size stand in its notes.
    """
    return answer(NAME, rule, inputs)


def rule(inputs: Inputs, read: Reader) -> Outcome:
    """The category, or why there is none."""
    if read.told(inputs.setting, lambda setting: setting != "screening"):
        return Refusal("Lung-RADS is for lung cancer screening; this CT was made for another reason.", SOURCE)
    examination = read(inputs.examination)
    if examination != "complete":
        return _incomplete(examination)
    size = _Size(inputs, read)
    found = _category(inputs, read, size)
    if isinstance(found, Refusal):
        return found
    category, row = found
    if category in ("3", "4A", "4B") and read(inputs.suspicious_features):
        category, row = "4X", f"category {category} with further features that suggest cancer; {row}"
        return Conclusion(category, ADVICE[category], row, SOURCE)
    pet = _pet(inputs, read, size) if category == "4A" else ""
    other = _by_volume(inputs, read, category) if size.used else ""
    return Conclusion(category, ADVICE[category], row, SOURCE, tuple(filter(None, [pet, other])))


def growth(earlier: Earlier, size: Axes) -> str:
    """What became of a nodule by its mean diameters: "growing", "slowly growing", "stable" or "smaller".

    Over more than 12 months the increase counts as growth if it was more than 1.5 mm a year, else as slow growth.
    """
    larger = rounded(size.mean_mm(1) - earlier.size.mean_mm(1), 1)
    if abs(larger) <= GROWTH_MM:
        return "stable"
    if larger < 0:
        return "smaller"
    years = max(earlier.days / 365.25, 1)
    return "growing" if larger / years > GROWTH_MM else "slowly growing"


def _incomplete(examination: str) -> Conclusion:
    advice = {
        "earlier CT awaited": "Compare with the earlier CT when it is there.",
        "lungs not wholly shown": "Repeat the screening CT so that the lungs are shown wholly.",
        "infection or inflammation likely": "Low-dose CT in 1 to 3 months.",
    }
    return Conclusion("0", advice[examination], f"incomplete: {examination}", SOURCE)


def _category(inputs: Inputs, read: Reader, size: _Size) -> _Found | Refusal:
    """Category and row of the table."""
    lesion = read(inputs.lesion)
    change = _change(inputs, read)
    if change == "gone":
        return Refusal("Lung-RADS grades what is on this CT, and the nodule is gone.", SOURCE)
    if lesion in CYST:
        of_cyst = read(inputs.cyst_change)
        if of_cyst == "none" and change in ("stable", "smaller"):
            return _stepped(inputs, read, lesion, change, size)
        return CYST[lesion][of_cyst], f"{lesion}, change: {of_cyst}"
    if lesion in (asked.SMALL_AIRWAY, asked.LARGE_AIRWAY):
        if (lesion, change) not in AIRWAY:
            return Refusal(f"Lung-RADS v2022 names no category for a {change} lesion {lesion}.", SOURCE)
        return AIRWAY[lesion, change], f"lesion {lesion}, {change}"
    if read.told(inputs.calcification, asked.benign) or read(inputs.fat):
        return "1", "benign calcification (complete, central, popcorn or concentric rings) or fat"
    if lesion == asked.LYMPH_NODE and change in ("baseline", "new", "stable", "smaller"):
        category, band = size.of(LYMPH_NODE)
        if category != "as solid":
            return category, f"juxtapleural, smooth, oval or triangular, {band}"
    kind = "solid" if lesion == asked.LYMPH_NODE else read(inputs.nodule_type)
    if kind == "non-solid":
        category, band = size.of(NON_SOLID[change])
        return category, f"non-solid, {change}, {band}"
    if change in ("stable", "smaller"):
        return _stepped(inputs, read, kind, change, size)
    if change == "slowly growing":
        return "4B", f"{kind}, slow growth over several examinations"
    return _by_size(inputs, read, kind, change, size)


def _by_size(inputs: Inputs, read: Reader, kind: str, change: str, size: _Size) -> _Found:
    """Solid and part-solid nodules that are seen first, are new or grow."""
    if kind == "solid":
        category, band = size.of(SOLID[change])
        return category, f"solid, {change}, {band}"
    row = f"part-solid, {change}"
    if change == "growing":
        part = _solid_change(inputs, read)
        # Where only its ground glass grows, its size alone tells.
        change, row = ("baseline" if part == "stable" else "growing"), f"{row}, solid part {part}"
    if change != "growing":
        category, band = size.of(PART_SOLID_WHOLE[change])
        row = f"{row}, {band}"
        if category != "by solid part":
            return category, row
    category, band = _step_of(PART_SOLID_PART[change], inputs, read)
    return category, f"{row}, solid part {band}"


def _stepped(inputs: Inputs, read: Reader, kind: str, change: str, size: _Size) -> _Found:
    """What is stable or smaller, but for airway lesions: the earlier category, or a lower one after its time."""
    if change == "stable" and (crossed := _crossed(inputs, read, kind, size)):
        return crossed
    before = read(inputs.earlier_category)
    row = f"{kind}, {change}, category {before} on the earlier CT"
    if before in ("4B", "4X"):
        return ("2", f"{row}, proved benign") if read(inputs.proved_benign) else ("4B", row)
    if before not in STEPS_DOWN:
        return "2", row
    months, lower = STEPS_DOWN[before]
    if months_under(inputs, read, months):
        return before, f"{row}, less than {months} months ago"
    return lower, f"{row}, {months} months or more ago"


def _crossed(inputs: Inputs, read: Reader, kind: str, size: _Size) -> _Found | None:
    """The category by size of a solid nodule that grew too little to be growing, and yet into a higher size class."""
    earlier = read.optional(inputs.earlier)
    if earlier is None or kind != "solid":
        return None
    now, band = size.of(SOLID["baseline"])
    before, _ = _step(SOLID["baseline"], earlier.size.mean_mm(1))
    return (now, f"solid, crossed the threshold to {band}") if now > before else None


def _change(inputs: Inputs, read: Reader) -> str:
    """What became of the nodule: as told, or else as measured."""
    earlier = read.optional(inputs.earlier)
    if inputs.comparison.value is not None or earlier is None:
        return read(inputs.comparison)
    change = growth(earlier, read(inputs.size))
    part, before = inputs.solid_part.value, earlier.solid_part
    if change in ("stable", "smaller") and part is not None and before is not None:
        # Growth of the solid part is growth.
        of_part = growth(Earlier(earlier.days, before), part)
        return of_part if of_part in ("growing", "slowly growing") else change
    return change


def _solid_change(inputs: Inputs, read: Reader) -> str:
    """What became of the solid part: as told, or else as measured."""
    earlier = read.optional(inputs.earlier)
    if inputs.solid_change.value is not None or earlier is None or earlier.solid_part is None:
        return read(inputs.solid_change)
    part = read(inputs.solid_part)
    if earlier.solid_part.long_mm == 0:
        return "new" if part.long_mm > 0 else "stable"
    change = growth(Earlier(earlier.days, earlier.solid_part), part)
    return "growing" if change in ("growing", "slowly growing") else "stable"


def _pet(inputs: Inputs, read: Reader, size: _Size) -> str:
    """The advice that 4A adds for large solid nodules and solid parts."""
    lesion = read(inputs.lesion)
    if lesion not in ("nodule", asked.LYMPH_NODE):
        return ""
    solid = lesion == asked.LYMPH_NODE or read(inputs.nodule_type) == "solid"
    large, _ = size.of(PET_STEPS) if solid else _step_of(PET_STEPS, inputs, read)
    return PET_ADVICE if large == "yes" else ""


def _by_volume(inputs: Inputs, read: Reader, category: str) -> str:
    """A note where the nodule's volume leads to another category than its diameter."""
    volume = read.optional(inputs.volume_mm3)
    if volume is None:
        return ""
    found = _category(inputs, read, _Size(inputs, read, by_volume=True))
    other = category if isinstance(found, Refusal) else found[0]
    return "" if other == category else f"By its volume of {rounded(volume, 0):.0f} mm3 it would be category {other}."


class _Size:
    """The size of the whole nodule, as diameter or as volume, read only where a table asks for it."""

    def __init__(self, inputs: Inputs, read: Reader, by_volume: bool = False) -> None:
        self._inputs, self._read = inputs, read
        self._by_volume = by_volume or (inputs.size.value is None and inputs.volume_mm3.value is not None)
        self.used = False

    def of(self, steps: Steps) -> _Found:
        """The category of the highest step that the size reaches, and that step in words."""
        if len(steps) == 1:
            return steps[0][2], "any size"
        self.used = True
        if self._by_volume:
            return self._read.told(self._inputs.volume_mm3, lambda volume: _step(steps, rounded(volume, 0), 1))
        return self._read.told(self._inputs.size, lambda size: _step(steps, size.mean_mm(1)))


def _step_of(steps: Steps, inputs: Inputs, read: Reader) -> _Found:
    """The category of the highest step that the solid part reaches, and that step in words."""
    return read.told(inputs.solid_part, lambda part: _step(steps, part.mean_mm(1)))


def _step(steps: Steps, value: float, column: int = 0) -> _Found:
    """The category of the highest step whose mm (column 0) or mm3 (column 1) ``value`` reaches, and that step."""
    place = max(n for n, step in enumerate(steps) if (step[0], step[1])[column] <= value)
    unit = ("mm", "mm3")[column]
    low, high = ((step[0], step[1])[column] for step in (steps[place], steps[min(place + 1, len(steps) - 1)]))
    if low == high:
        return steps[place][2], f"{low:g} {unit} or more" if low else "any size"
    return steps[place][2], f"{low:g} to under {high:g} {unit}" if low else f"under {high:g} {unit}"
