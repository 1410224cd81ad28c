"""The report as text to paste: a few lines a nodule, in a radiologist's usual words."""

from __future__ import annotations

from ..guidelines.lines import AnswerLine
from ..results.similar_lines import similar_text
from . import words
from .examination import Examination, Finding


def text(report: Examination) -> str:
    """The whole report as plain text."""
    facts = dict(report.facts)
    head = [words.TITLE, *(f"{name}: {value}" for name, value in facts.items())]
    parts = ["\n".join(head), "\n".join(report.warnings), *map(finding_text, report.findings)]
    return "\n\n".join(filter(None, (*parts, f"{words.GUIDELINES_NOTE}\n{words.RESEARCH}"))) + "\n"


def pasted(report: Examination) -> str:
    """What *Copy text* takes: the nodules alone."""
    return "\n\n".join((*map(finding_text, report.findings), words.RESEARCH)) + "\n"


def finding_text(finding: Finding) -> str:
    """One nodule: doubts first, then what and where it is, what the guidelines say, and what they do not know."""
    cautions = finding.management.cautions if finding.management else ()
    lines = [" ".join((f"{finding.number}. {one_line(finding.label)}:", *cautions, sentence(finding)))]
    lines += [finding.signs, finding.growth, *finding.warnings, *map(answer, finding.answers), unsettled(finding)]
    lines += [similar(finding)]
    if finding.image.sop_uid:
        lines.append(words.SOP.format(uid=finding.image.sop_uid) + ".")
    return "\n   ".join(filter(None, lines))


def sentence(finding: Finding) -> str:
    """ "Solid nodule, 8.2 x 6.9 mm (mean 7.6 mm), 210 mm3, right lung, upper third, lobe ?, image 57, series 3." """
    if finding.management is None:
        return f"{words.NO_NODULE} ({finding.place}, {finding.slice})."
    return ", ".join((finding.kind, finding.size, finding.place, finding.slice)) + "."


def answer(line: AnswerLine) -> str:
    """One guideline's answer in a line: its category and advice where it is settled, else what it depends on."""
    short = words.OPEN_ANSWER.format(name=line.name, short=line.short)
    only = line.outcomes[0] if len(line.outcomes) == 1 else None
    return f"{short} {only.sentence}".strip() if only else short


def unsettled(finding: Finding) -> str:
    """Which inputs would change an answer: nobody gave them, or nobody confirmed what was proposed."""
    unknown = [line.label for line in finding.inputs if line.wanted and not line.value]
    proposed = [f"{line.label} {line.value}" for line in finding.inputs if line.wanted and line.value]
    return " ".join(
        template.format(labels=", ".join(labels))
        for template, labels in ((words.MISSING_LIST, unknown), (words.UNCONFIRMED_LIST, proposed))
        if labels
    )


def similar(finding: Finding) -> str:
    """The similar LIDC nodules and whose suspicion theirs is; empty without any."""
    told = similar_text(finding.assessment.nodule)
    return words.SIMILAR_LIST.format(nodules=told, sentence=finding.similar_sentence) if told else ""


def one_line(label: str) -> str:
    """A point's name as it may stand in a text that is pasted elsewhere: without line breaks and control signs."""
    return "".join(sign if sign.isprintable() else " " for sign in label)
