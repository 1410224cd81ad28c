"""Who made an object and which nodule it is about: names and UIDs that are the same whenever the same is written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from .codes import AI, SCHEMES, Code
from .library import highdicom
from .source import Source, uid_of

if TYPE_CHECKING:
    from ..results.assessment import Assessment

NAME = "NoduleRisk"
#: Series numbers of what is written, far above a scanner's own; and what the series are called.
SERIES = {"SEG": (7001, "outlines"), "PM": (7002, "heatmaps"), "SR": (7003, "nodule grades")}


@dataclass(frozen=True)
class Tracking:
    """How one nodule is called wherever it is written: an identifier for people, and a UID."""

    identifier: str
    uid: str


def trackings(source: Source, assessments: Sequence[Assessment]) -> list[Tracking]:
    """How nodules are called: the same for the same name on the same CT, however it was assessed.

    Where several have one name, the first of them is the first again the next time.
    """
    seen: Counter[str] = Counter()
    found = []
    for one in assessments:
        label = one.point.label
        seen[label] += 1
        number = f"#{seen[label]}" if seen[label] > 1 else ""
        uid = one.tracking_uid or uid_of("nodule", source.facts.series_uid, label, number)
        found.append(Tracking(short(label, 64) or "nodule", uid))
    return found


def fingerprint(assessment: Assessment) -> str:
    """SHA-256 over all that is said of a nodule and over its outline: what tells one result from another."""
    sha = hashlib.sha256(json.dumps(assessment.to_dict(), sort_keys=True).encode())
    for name, volume in sorted(assessment.maps().items()):
        sha.update(name.encode() + np.ascontiguousarray(volume.array).tobytes())
    if assessment.nodule is not None:
        probability = assessment.nodule.outline.probability
        sha.update(np.ascontiguousarray(probability.array).tobytes() + probability.ijk_to_ras.tobytes())
    return sha.hexdigest()


def made_by(source: Source, kind: str, content: Sequence[str], number: int = 1, package: str = "") -> dict[str, Any]:
    """What every object says of itself: series, instance and maker, as highdicom's constructors take them.

    Parameters
    ----------
    source : Source
    kind : str
        "SEG", "PM" or "SR".
    content : sequence of str
        All that the series holds, nodules as their ``fingerprint``: the same content has the same UIDs.
    number : int
        Of the object within its series.
    package : str
        Name and hash of the model package.
    """
    about = (source.facts.series_uid, kind, *content, str(source.anonymous), __version__)
    series_number, description = SERIES[kind]
    return {
        "series_instance_uid": uid_of("series", *about),
        "series_number": series_number,
        "series_description": f"{NAME} {description}",
        "sop_instance_uid": uid_of("instance", *about, str(number)),
        "instance_number": number,
        "manufacturer": NAME,
        "manufacturer_model_name": NAME,
        "software_versions": __version__,
        # There is no device but the package whose weights graded.
        "device_serial_number": short(package, 64) or "unknown",
    }


def schemes() -> list[Any]:
    """The coding schemes that are not the standard's own."""
    highdicom()
    from highdicom.coding_schemes import CodingSchemeIdentificationItem as scheme

    return [scheme(designator, name=name) for designator, name in SCHEMES.items()]


def coded(code: Code) -> Any:
    """A code as highdicom takes it."""
    return highdicom().sr.CodedConcept(code.value, code.scheme, code.meaning)


def algorithm(package: str, model: Mapping[str, Any] | None) -> Any:
    """NoduleRisk and the model package, as segments and maps name what made them."""
    return highdicom().AlgorithmIdentificationSequence(
        NAME, coded(AI), __version__, source=NAME, parameters=parameters(package, model)
    )


def parameters(package: str, model: Mapping[str, Any] | None) -> dict[str, str]:
    """Name and whole hash of the model package."""
    told = {"model package": package}
    return told | ({"SHA-256": str(model["digest"])} if model else {})


def short(text: str, length: int) -> str:
    """Text as DICOM takes it in one line: without backslashes and control signs, no longer than ``length``."""
    plain = "".join("/" if sign == "\\" else sign if sign.isprintable() else " " for sign in text)
    return plain.strip()[:length].strip()
