"""Two points on one nodule: the scene says it as the assessor does, and not twice."""

from dataclasses import replace

import fakes

from NoduleRiskLib.imaging.input_checks import check_repetition
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.panel.same_nodule import SAME_NODULE, Outlines


def _assessed(*points):
    """Assessments with the sentences that ``Assessor.assess`` adds."""
    earlier = []
    for one in fakes.FakeAssessor().assess(fakes.lungs(), points):
        said = check_repetition(one.point, one.nodule.outline, earlier)
        earlier.append((one.point, one.nodule.outline))
        yield replace(one, warnings=one.warnings + said)


def test_the_sentence_is_the_assessors():
    first, second = _assessed(Point("a", fakes.PLACES[0]), Point("b", fakes.PLACES[0]))
    assert str(second.warnings[-1]) == SAME_NODULE.format(first="a", second="b")
    assert len(second.warnings) == len(first.warnings) + 1


def test_the_assessors_sentence_is_kept_as_a_relation_which_ends_with_the_other_point():
    outlines = Outlines([], "digest")
    names = ("a", "b", "c")
    places = (fakes.PLACES[0], fakes.PLACES[1], fakes.PLACES[0])
    points = [Point(name, place) for name, place in zip(names, places, strict=True)]
    kept = [outlines.compare(one.point.label, one) for one in _assessed(*points)]
    assert [twins for _, twins in kept] == [{}, {}, {"a": fakes.PLACES[0]}]
    assert [len(one.warnings) for one, _ in kept] == [3, 3, 3]
