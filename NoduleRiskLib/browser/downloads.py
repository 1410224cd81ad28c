"""The files that a reader takes home: each is written on the session's worker, then sent and removed."""

from __future__ import annotations

import asyncio
import tempfile
import zipfile
from pathlib import Path

from aiohttp import web

from ..errors import NoduleRiskError
from ..panel.export import DICOM
from .work import Work

#: What can be downloaded: name in the address -> (what the logic calls it, the file's name or DICOM's kinds).
KINDS = {
    "csv": ("csv", "nodules.csv"),
    "json": ("json", "nodules.json"),
    "html": ("report", "report.html"),
    "pdf": ("report", "report.pdf"),
    "txt": ("report", "report.txt"),
    "seg": (DICOM, "SEG"),
    "sr": (DICOM, "SR"),
    "dicom": (DICOM, ""),
}


async def download(work: Work, kind: str, folder: Path) -> web.Response:
    """One of ``KINDS`` as a file.

    Parameters
    ----------
    work : Work
    kind : str
    folder : Path
        For what is written meanwhile.

    Raises
    ------
    NoduleRiskError
        If nothing is graded yet, or the CT did not come from DICOM.
    """
    if not any(one.row for one in work.state.nodules):
        raise NoduleRiskError("Nothing is graded yet: place a point first.")
    what, name = KINDS[kind]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / (name if what != DICOM else "dicom")
        await _written(work, what, path)
        if what == DICOM:
            path = _packed(path, name)
        content = path.read_bytes()
    headers = {"Content-Disposition": f'attachment; filename="{path.name}"'}
    # Never shown as a page of ours, whatever it holds.
    return web.Response(body=content, content_type="application/octet-stream", headers=headers)


async def _written(work: Work, what: str, path: Path) -> None:
    done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def ended(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(error)

    settings, logic = work.settings, work.logic
    if what == "report":
        logic.report(path, settings.ct, settings.points, ended, growth=work.state.growth)
    else:
        logic.export(what, path, settings.ct, settings.points, settings.grade, ended)
    error = await done
    if error is not None:
        raise error


def _packed(folder: Path, kind: str) -> Path:
    """The DICOM objects of a kind ("" for all): one as it is, several as an archive."""
    files = sorted(file for file in folder.glob("*.dcm") if file.name.startswith(kind))
    if len(files) == 1:
        return files[0]
    packed = folder / f"{kind or 'dicom'}.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return packed
