"""The report of one CT: text to paste, one HTML document, the same as PDF.

>>> from NoduleRiskLib import assess, read_ct                                            # doctest: +SKIP
>>> from NoduleRiskLib.report import write_report                                        # doctest: +SKIP
>>> ct = read_ct("path/to/dicom")                                                        # doctest: +SKIP
>>> write_report("report.html", ct, assess(ct, [(-56, -86, -115)]), {"age": 61})         # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..guidelines.about import About
    from ..guidelines.management import Grown
    from ..imaging.volume import Volume
    from ..results.assessment import Assessment

#: Kinds of reports, by the ends of their files' names.
KINDS = (".html", ".pdf", ".txt")


def write_report(
    path: Path | str,
    volume: Volume,
    assessments: Sequence[Assessment],
    about: About | Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    growth: Mapping[str, Grown] | None = None,
) -> None:
    """Write the report of a CT; the file's ending says as what.

    Parameters
    ----------
    path : path
        Ends in .html, .pdf or .txt. The file is there whole or not at all.
    volume : Volume
        The CT that was assessed.
    assessments : sequence of Assessment
    about : About or mapping, optional
        What is known of the patient and of single nodules beside what was measured: ``About``, or as its ``from_dict``
        takes it.
    model : mapping, optional
        ``name``, ``version`` and ``digest`` of the model package.
    growth : mapping of str to Growth, optional
        What became of a nodule since an earlier CT, by the point's name.

    Raises
    ------
    NoduleRiskError
        If the ending is another one, an answer is none, the file cannot be written, or what a PDF needs is missing.
    """
    from ..guidelines.about import About
    from .document import write
    from .examination import examination

    about = about if isinstance(about, About) else About.from_dict(about or {})
    labels = [one.point.label for one in assessments]
    grown = [(growth or {}).get(label) for label in labels]
    write(Path(path), examination(volume, assessments, [about.of(label) for label in labels], model, grown))
