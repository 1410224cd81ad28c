"""Files of points, good and bad: Slicer's markups and fiducial lists, and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from NoduleRiskLib.imaging import points

from .mutations import WORDS, changed
from .trying import Case

MARKUPS = {
    "markups": [
        {
            "type": "Fiducial",
            "coordinateSystem": "LPS",
            "coordinateUnits": ["mm", "UCUM", "millimeter"],
            "controlPoints": [
                {"id": "1", "label": "F-1", "position": [60.5, 20, -110], "positionStatus": "defined"},
                {"id": "2", "label": "upper lobe", "position": [-4.25, 1e1, 0], "positionStatus": "undefined"},
            ],
        }
    ]
}
GOOD = {
    "F.mrk.json": json.dumps(MARKUPS, indent=1),
    "F.fcsv": "# Markups fiducial file version = 5.2\n# CoordinateSystem = LPS\n"
    "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    '1,1.5,-2,3,0,0,0,1,1,1,0,"a, ""b""",,,2,0\n2,4,5,6,0,0,0,1,1,1,0,F-2,,,2,0\n',
    "p.csv": 'label,r,a,s\n"a, ""b""",1.5,-2,3e1\n\nc,4,5,6\n',
    "q.csv": "Name;L;P;S\r\nx;1,5;2,5;3\r\n",
    "t.csv": "label,l,p,s,defined,selected,visible,locked,description\na,1,2,3,1,1,1,0,\nb,0,0,0,0,1,1,0,\n",
}


def read(path: Path) -> object:
    """What is tried; labels must be printable and writable somewhere."""
    found = points.read(path)
    for point in found:
        point.label.encode("utf-8")
    return found


def cases() -> st.SearchStrategy[Case]:
    """Good files with a few changes, and JSON of any shape in the places where markups have something."""
    turned = st.sampled_from(list(GOOD)).flatmap(
        lambda name: changed(GOOD[name].encode()).map(lambda data: Case({name: data}, name))
    )
    return st.one_of(turned, turned, _reshaped())


def _values() -> st.SearchStrategy[Any]:
    leaf = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just(10**400),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(WORDS[:40]),
    )
    return st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    )


@st.composite
def _reshaped(draw: st.DrawFn) -> Case:
    """Markups of which one place, at any depth, holds something else."""
    whole = json.loads(json.dumps(MARKUPS))
    here = whole
    while True:
        key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        if not isinstance(here[key], dict | list) or not here[key] or draw(st.integers(0, 3)) == 0:
            break
        here = here[key]
    here[key] = draw(_values())
    return Case({"F.mrk.json": json.dumps(whole).encode("utf-8", "surrogatepass")}, "F.mrk.json")
