"""All that the report itself says, in English: a translation is another module of these names.

What the guidelines say is worded where they are; grades have LIDC's words (``grades.py``).
"""

from __future__ import annotations

from ..results import similar_lines

LANGUAGE = "en"
TITLE = "Lung nodules on chest CT"
RESEARCH = "Research use only, not a medical device."
SUSPICION_NOTE = "Suspicion is what LIDC's readers would suspect of a nodule that looks so, not the chance of cancer."
GUIDELINES_NOTE = (
    "Guidelines and risk models are arithmetic on the sizes measured and on what was told; suspicion is no part of it."
)

# About the CT
CT, SERIES, STUDY_DATE, SLICES, MODEL, SOFTWARE, PATIENT = (
    "CT",
    "Series",
    "Study date",
    "Slices",
    "Model",
    "Software",
    "Patient",
)
YEARS = "{age:.0f} years"
SLICES_OF = "{count} of {step_mm:.2g} mm"
THICK = ", each {thickness_mm:g} mm thick"
KERNEL, CONTRAST = "kernel {kernel}", "contrast medium {contrast}"
ABOUT_CT = "About this CT"

# A nodule in one sentence
TYPES = {"solid": "Solid nodule", "part-solid": "Part-solid nodule", "non-solid": "Non-solid (ground-glass) nodule"}
SIZE = "{long_mm:.1f} x {short_mm:.1f} mm (mean {mean_mm:.1f} mm)"
VOLUME = "{volume_mm3:,.0f} mm3"
SOLID_PART = "solid part {long_mm:.1f} x {short_mm:.1f} mm"
LUNG = "{side} lung"
SIDE_UNKNOWN = "side ?"
LOBES = {"upper": "upper lobe", "middle or lower": "middle or lower lobe"}
LOBE_UNKNOWN = "lobe ?"
IMAGE, SLICE, IN_SERIES = "image {number}", "slice {number} of {count}", "series {series}"
SOP = "SOP instance {uid}"
SPICULATED = {True: "spiculated", False: "not spiculated"}
SIGNS = "{spiculation}, {lobulation}, {margin}, calcification {calcification}"
MARGIN = "margin {word}"
NO_NODULE = "no nodule was outlined at this point"

# Sections and columns
NODULES, NODULE, SIZE_HEADING, PLACE, IMAGE_HEADING, SUSPICION, LUNG_RADS, NOTES = (
    "Nodules",
    "Nodule",
    "Size",
    "Place",
    "Image",
    "Suspicion",
    "Lung-RADS",
    "Notes",
)
GRADES, GRADE, VALUE, INTERVAL, WORD, BELOW = ("Grades", "Grade", "Value", "80 % interval", "LIDC's word", "Below")
BELOW_MEANS = "Below: percentage of LIDC's nodules whose readers gave less."
MANAGEMENT, GUIDELINE, ANSWER, INPUTS, INPUT, ORIGIN = (
    "Guidelines and risk models",
    "Guideline",
    "Answer",
    "Inputs",
    "Input",
    "From",
)
MISSING, UNCONFIRMED, ASSUMED = "Missing", "Not confirmed", "Taken for granted"
IDLE = "Open, but changes nothing: {labels}."
SIMILAR, SIMILAR_FROM = similar_lines.TITLE, similar_lines.PICTURES_FROM
WARNINGS = "Please note"
BY = "By: {rule}."
PICTURES = {
    "axial lung": "Axial, lung window",
    "axial outline": "Axial, with the outline",
    "axial soft": "Axial, soft-tissue window",
    "coronal lung": "Coronal, lung window",
}
WIDE = "Pictures are {width_mm:.0f} mm wide; the patient's right is on the left."
PAGE = "Page {number}"

# The text to paste
OPEN_ANSWER = "{name}: {short}."
MISSING_LIST = "Not known: {labels}."
SIMILAR_LIST = f"{similar_lines.TITLE}: {{nodules}}. {{sentence}}"
UNCONFIRMED_LIST = "Proposed by the network, not confirmed: {labels}."
