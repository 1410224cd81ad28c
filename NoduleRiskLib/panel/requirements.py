"""What assessing needs of Slicer's Python, and its installation once the user has agreed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from pathlib import Path

from slicer.i18n import tr as _

from ..errors import NoduleRiskError

QUESTION = """NoduleRisk assesses nodules with a neural network. For that, Slicer's Python lacks: {missing}.

They come from Python's package index and from PyTorch's own. PyTorch takes about 0.3 GB to download without an NVIDIA \
graphics card and 2 to 3 GB with one, everything else under 50 MB; it is done once. Nothing about you or your images \
is sent.

Install them now?"""


class Requirements:
    """The packages that assessing needs.

    Parameters
    ----------
    file : path
        ``requirements.txt`` with what pip installs beside torch and torchvision.
    """

    modules = ("torch", "torchvision", "timm", "safetensors")

    def __init__(self, file: Path) -> None:
        self._file = file

    def missing(self) -> list[str]:
        """Names of the modules that assessing lacks."""
        return [name for name in self.modules if not importlib.util.find_spec(name)]

    def missing_for_pictures(self) -> list[str]:
        """Names of the modules that the nodule pages lack; the report needs them, too."""
        return [] if importlib.util.find_spec("matplotlib") else ["matplotlib"]

    def missing_for_report(self) -> list[str]:
        """Names of the modules that the report lacks."""
        return [name for name in ("matplotlib", "jinja2", "reportlab") if not importlib.util.find_spec(name)]

    def install(self) -> bool:
        """Ask once, then install; returns whether assessing is possible now.

        Raises
        ------
        NoduleRiskError
            If something stands in the way that the user can put right.
        """
        import slicer.packaging

        missing = self.missing() + self.missing_for_report()
        question = _(QUESTION).format(missing=", ".join(missing))
        if missing and not slicer.util.confirmOkCancelDisplay(question, "NoduleRisk"):
            return False
        if {"torch", "torchvision"} & set(missing):
            try:
                import PyTorchUtils
            except ModuleNotFoundError as error:
                raise NoduleRiskError(
                    _("The PyTorch extension is missing: install it in the Extensions Manager and restart Slicer.")
                ) from error
            if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True) is None:
                return False
        self._import_torch()
        versions = "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in ("torch", "torchvision"))
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text(versions)
            required = slicer.packaging.load_requirements(self._file)
            # The user agreed to these in the question above.
            slicer.packaging.pip_ensure(required, constraints, prompt_install=False, requester="NoduleRisk")
        importlib.invalidate_caches()
        return not self.missing()

    @staticmethod
    def _import_torch() -> None:
        """A torchvision that was built for another torch fails when it is imported: better here than in the model."""
        try:
            import torch  # noqa: F401
            import torchvision  # noqa: F401
        except (ImportError, RuntimeError, OSError) as error:
            raise NoduleRiskError(
                _("torch and torchvision do not fit together: reinstall both in the PyTorch Utils module.")
            ) from error
