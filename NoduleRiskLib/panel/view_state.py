"""Everything that the panel's parts draw from, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import InputWarning
from ..slicer_scene.inputs import Mark, Node
from ..slicer_scene.records import DAMAGED, MAPS_LOST, Row
from .worker import Task

if TYPE_CHECKING:
    from ..guidelines.management import Grown
    from ..results.assessment import Assessment

#: States of a point: without assessment, changed since its assessment, assessed, not on the image.
NEW, OUTDATED, ASSESSED, OUTSIDE = "new", "outdated", "assessed", "outside"
CHANGED = "The point or the CT was changed after this assessment: assess again."
EDITED = "The outline was edited after this assessment: assess again to have its grades."


@dataclass(frozen=True)
class ListedNodule:
    """A placed point and what the scene keeps of its assessment.

    Attributes
    ----------
    mark : Mark
    row : Row or None
        Its results, if it has any.
    state : str
        NEW, OUTDATED, ASSESSED or OUTSIDE.
    damaged, lacks_maps : bool
        Whether there are results that cannot be read, and results without outline and heatmaps.
    repeated : str
        Says which other point lies on the same nodule; or nothing.
    outline : (str, str) or None
        The segment that will be graded, where the user or another tool drew it: IDs of its segmentation and its own.
    edited : bool
        Whether nothing but the outline is another one than was graded.
    aside : bool
        Whether the user drew an outline of it and asked for the network's again.
    growth : (str, str, Growth or None) or None
        What became of it since an earlier CT, as ``followups.growth`` gives it.
    """

    mark: Mark
    row: Row | None
    state: str
    damaged: bool = False
    lacks_maps: bool = False
    repeated: str = ""
    outline: tuple[str, str] | None = None
    edited: bool = False
    aside: bool = False
    growth: tuple[str, str, Any] | None = None

    @property
    def outdated(self) -> str:
        """Why the results do not hold any more: one sentence, or nothing."""
        return "" if self.state != OUTDATED else EDITED if self.edited else CHANGED

    @property
    def refused(self) -> bool:
        """Whether version 0.1.0 assessed it and outlined nothing."""
        return self.row is not None and not self.row.found

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes the nodule doubtful, a few words each."""
        return tuple(dict.fromkeys(one.doubt for one in self.warnings if one.doubt))

    @property
    def scene_warnings(self) -> tuple[InputWarning, ...]:
        """What the results themselves do not say."""
        texts = (DAMAGED if self.damaged else "", MAPS_LOST if self.lacks_maps else "", self.repeated)
        return tuple(InputWarning(text, "nodule") for text in texts if text)

    @property
    def warnings(self) -> tuple[InputWarning, ...]:
        """All that is said about this nodule, and not about the CT."""
        own = self.row.warnings if self.row else ()
        return (*(one for one in own if one.about == "nodule"), *self.scene_warnings)


@dataclass
class ViewState:
    """What the panel shows.

    Attributes
    ----------
    parameters : NoduleRiskParameterNode or None
        The scene's settings; ``None`` while the scene is closed.
    ct, points, table : nodes or None
        ``ct`` is ``None`` also where the chosen one cannot be read: ``problem`` says why.
    nodules : list of ListedNodule
    chosen : ListedNodule or None
    assessment : Assessment or None
        The chosen nodule's, as the scene holds it.
    problem, error : str
        What is wrong with the chosen CT, and the last error; one sentence each or empty.
    left_out : tuple of str
        Which segments of the chosen segmentation can be no nodules; one sentence each.
    missing, missing_for_pictures : list of str
        Modules that Slicer's Python lacks.
    task, export, comparison : Task or None
        The assessment, the export and the comparison with an earlier CT that are running.
    growth : dict of str to Growth
        What became of nodules since an earlier CT, by control point ID.
    finished, asked : int
        How many of the running task's nodules are assessed, and how many there are.
    """

    parameters: Any = None
    ct: Node = None
    points: Node = None
    table: Node = None
    nodules: list[ListedNodule] = field(default_factory=list)
    chosen: ListedNodule | None = None
    assessment: Assessment | None = None
    problem: str = ""
    error: str = ""
    left_out: tuple[str, ...] = ()
    missing: list[str] = field(default_factory=list)
    missing_for_pictures: list[str] = field(default_factory=list)
    task: Task | None = None
    export: Task | None = None
    growth: dict[str, Grown] = field(default_factory=dict)
    comparison: Task | None = None
    finished: int = 0
    asked: int = 0

    @property
    def ct_warnings(self) -> list[InputWarning]:
        """What the assessments say about the whole CT, each once."""
        rows = [nodule.row for nodule in self.nodules if nodule.row]
        return list(dict.fromkeys(warning for row in rows for warning in row.warnings if warning.about == "ct"))

    @property
    def waiting(self) -> list[Mark]:
        """The points that *Assess* would assess."""
        return [
            one.mark
            for one in self.nodules
            if one.state in (NEW, OUTDATED) or (one.state == ASSESSED and (one.lacks_maps or one.refused))
        ]
