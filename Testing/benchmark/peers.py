"""The graders in other hands: torch.compile, ONNX Runtime and OpenVINO, each asked for the same numbers."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from NoduleRiskLib.networks.evidence import thickness_mm
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT, collate, waves

from .samples import stacks

#: Nodules of the phantom that the int8 models' ranges are taken from.
CALIBRATION = 21


class Inputs(NamedTuple):
    """A batch whose shapes an exported graph can follow: T slices a nodule, N valid slices in all.

    channels (N, C, h, w); at (B, T), each place's row in ``channels``; waves (B, T, dim); plane (B, T); seen (B, T);
    shape (B, 6); surface (B, 28); calcium (B, 13); thickness (B,), mm.
    """

    channels: Tensor
    at: Tensor
    waves: Tensor
    plane: Tensor
    seen: Tensor
    shape: Tensor
    surface: Tensor
    calcium: Tensor
    thickness: Tensor


Way = Callable[[Inputs], Tensor]


@torch.inference_mode()
def inputs(grader: NoduleViT, batch: Batch) -> Inputs:
    """The batch with its valid slices first: what no nodule fills is left away."""
    order = batch.valid.int().argsort(dim=1, descending=True, stable=True)[:, : int(batch.valid.sum(1).max())]
    row = (batch.valid.flatten().cumsum(0) - 1).clamp(min=0).view(batch.valid.shape)
    at, plane, offset_mm, seen = (x.gather(1, order) for x in (row, batch.plane, batch.offset_mm, batch.valid))
    wave = waves(offset_mm, grader.vit.embed_dim)
    thickness = thickness_mm(batch.offset_mm, batch.valid)
    measures = batch.shape_features, batch.surface_features, batch.calcium_features
    return Inputs(grader.channels(batch), at, wave, plane, seen, *measures, thickness)


def raw(grader: NoduleViT, x: Inputs) -> Tensor:
    """What ``NoduleViT.raw`` gives, from inputs of fixed rank; places that are not seen hold some slice's token."""
    encoded, wide = grader.embed(x.channels)[x.at], grader.vit.embed_dim
    placed = encoded[..., :wide] + grader.offset(x.waves) + grader.plane(x.plane)
    tokens = torch.cat([placed, encoded[..., wide:] * x.thickness[:, None, None]], -1)
    return grader.raw(tokens, cast(Any, Batch)(None, None, None, x.plane, x.seen, x.shape, x.surface, x.calcium))


class Five(nn.Module):
    """All graders as one graph: the fields of ``Inputs`` -> raw outputs (graders, B, 15)."""

    def __init__(self, graders: Sequence[NoduleViT]) -> None:
        super().__init__()
        self.graders = nn.ModuleList(graders)

    def forward(self, *fields: Tensor) -> Tensor:
        return torch.stack([raw(cast(NoduleViT, grader), Inputs(*fields)) for grader in self.graders])


def grades(graders: Sequence[NoduleViT], raws: Tensor) -> Tensor:
    """Grades (B, 9), averaged over the graders, from their raw outputs."""
    return torch.stack([grader.read(one).grades for grader, one in zip(graders, raws, strict=True)]).mean(0)


def compiled(graders: Sequence[NoduleViT]) -> Way:
    """torch.compile: one program for all graders."""
    program = torch.compile(raw, dynamic=True)
    return lambda x: torch.stack([program(grader, x) for grader in graders])


def onnx_runtime(graders: Sequence[NoduleViT], int8: bool = False) -> Way:
    """ONNX Runtime on its CPU provider."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(_onnx(tuple(graders), int8)), options, ["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, _arrays(x))[0])


def openvino(graders: Sequence[NoduleViT], int8: bool = False) -> Way:
    """OpenVINO's CPU plugin."""
    import openvino

    model = openvino.compile_model(
        str(_onnx(tuple(graders), int8)),
        "CPU",
        {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"},
    )
    return lambda x: torch.from_numpy(model(list(_arrays(x).values()))[0])


@cache
def _onnx(graders: tuple[NoduleViT, ...], int8: bool) -> Path:
    file = Path(tempfile.mkdtemp(prefix="nodulerisk-benchmark-")) / ("int8.onnx" if int8 else "fp32.onnx")
    if int8:
        from onnxruntime.quantization import quantize_static

        # The masked attention's minus infinity has no int8: only what costs time is quantised.
        kinds = ["Conv", "Gemm", "MatMul"]
        quantize_static(str(_onnx(graders, False)), str(file), _Calibration(graders[0]), op_types_to_quantize=kinds)
        return file
    import onnx  # noqa: F401 - the exporter needs it and says so only after its work

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Five(graders).eval(),
            tuple(inputs(graders[0], collate(list(stacks(3))))),
            str(file),
            input_names=list(Inputs._fields),
            output_names=["raw"],
            dynamic_axes={"channels": {0: "n"}, "raw": {1: "b"}}
            | {name: {0: "b", 1: "t"} for name in ("at", "waves", "plane", "seen")}
            | {name: {0: "b"} for name in ("shape", "surface", "calcium", "thickness")},
            opset_version=17,
            # The newer exporter cannot follow the number of valid slices, which only the data tells.
            dynamo=False,
        )
    return file


def _arrays(x: Inputs) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in x._asdict().items()}


class _Calibration:
    """The inputs from which int8's ranges are measured, as ``quantize_static`` asks for them."""

    def __init__(self, grader: NoduleViT) -> None:
        self.left = iter([_arrays(inputs(grader, collate([stack]))) for stack in stacks(CALIBRATION)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)
