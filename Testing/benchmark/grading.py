"""Grading: the graders as shipped against other backends and precisions, and against a stock timm ViT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from statistics import median

import timm
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.networks.nodule_vit import NoduleViT, average, collate

from . import peers
from .samples import package, stacks
from .timing import Contender, Figure, Missing, Part, in_turns, markdown, race, ratio

NUMBERS = (1, 10, 100)
OURS, REFERENCE = "as shipped", "PyTorch eager, fp32"
#: Side of the square matrices whose product shows what the machine can do.
CEILING = 2048
BATCH = 64
#: Whoever takes so many times longer than ours is not asked for more points.
SLOW = 5

Way = Callable[[peers.Inputs], Tensor]


def parts() -> Iterator[Part]:
    """Backends for 1, 10 and 100 points, their agreement, the machine's ceiling, a stock ViT."""
    ours = package().networks().graders
    makers = _makers(ours)
    built = {name: make() for name, make in makers.items()}
    racing = dict(built)
    for number in NUMBERS:
        ways = _ways(racing, ours, number)
        with torch.inference_mode():
            times = in_turns(ways, seconds=12)
        yield Part(f"Grades of {number} point{'s' * (number > 1)}, {len(ours)} graders", race(ways, times, OURS))
        slow = {name: ratio(each, times[OURS]) for name, each in times.items()}
        racing |= {name: Missing(f"not asked: {r:.0f} times ours for {number}") for name, r in slow.items() if r > SLOW}
    yield _agreement(built, ours)
    yield _ceiling(ours)
    yield _stock(ours[0])


def _ways(built: dict[str, Way | Missing], graders: list[NoduleViT], number: int) -> dict[str, Contender]:
    batch = collate(list(stacks(number)))
    x = peers.inputs(graders[0], batch)
    bound = {name: way if isinstance(way, Missing) else partial(way, x) for name, way in built.items()}
    return {OURS: lambda: average(graders, batch), **bound}


def _makers(graders: list[NoduleViT]) -> dict[str, Callable[[], Way | Missing]]:
    def eager() -> Way:
        return lambda x: torch.stack([peers.raw(grader, x) for grader in graders])

    def bf16() -> Way:
        def run(x: peers.Inputs) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return eager()(x).float()

        return run

    def needs(*modules: str, make: Callable[[], Way]) -> Callable[[], Way | Missing]:
        absent = [module for module in modules if find_spec(module) is None]
        return (lambda: Missing(f"{', '.join(absent)} not installed")) if absent else make

    return {
        REFERENCE: eager,
        "PyTorch eager, bf16": bf16,
        "torch.compile, fp32": lambda: peers.compiled(graders),
        "ONNX Runtime, fp32": needs("onnx", "onnxruntime", make=lambda: peers.onnx_runtime(graders)),
        "ONNX Runtime, int8": needs("onnx", "onnxruntime", make=lambda: peers.onnx_runtime(graders, int8=True)),
        "OpenVINO, fp32": needs("onnx", "openvino", make=lambda: peers.openvino(graders)),
        "OpenVINO, int8": needs("onnx", "onnxruntime", "openvino", make=lambda: peers.openvino(graders, int8=True)),
    }


@torch.inference_mode()
def _agreement(built: dict[str, Way | Missing], graders: list[NoduleViT]) -> Part:
    # Others than int8's ranges were taken from.
    unseen = stacks(2 * peers.CALIBRATION)[peers.CALIBRATION :]
    batch = collate(list(unseen))
    x = peers.inputs(graders[0], batch)
    reference = peers.grades(graders, torch.stack([peers.raw(grader, x) for grader in graders]))
    found = {OURS: average(graders, batch).grades} | {
        name: peers.grades(graders, way(x)) for name, way in built.items() if not isinstance(way, Missing)
    }
    lines = []
    for name, values in found.items():
        error = (values - reference).abs()
        lines.append([name, *(f"{value:.2g}" for value in error.mean(0).tolist()), f"{error.max():.2g}"])
    worst = float((found[OURS] - reference).abs().max())
    return Part(
        f"Mean absolute difference from {REFERENCE}, {len(unseen)} points, grade units",
        markdown(["way", *GRADE_NAMES, "largest"], lines),
        (Figure("grades as shipped, from fp32 eager", worst, 0.02, "grade units"),),
    )


@torch.inference_mode()
def _ceiling(graders: list[NoduleViT]) -> Part:
    a, b = torch.randn(CEILING, CEILING), torch.randn(CEILING, CEILING)
    product = f"product of two {CEILING} x {CEILING} matrices"
    lines = []
    batches = {number: collate(list(stacks(number))) for number in NUMBERS}
    runs: dict[str, Contender] = {product: lambda: a @ b}
    runs |= {str(number): (lambda batch=batch: average(graders, batch)) for number, batch in batches.items()}
    times = in_turns(runs, seconds=10)
    top = 2 * CEILING**3 / median(times[product])
    lines.append([product, f"{top / 1e9:.3g}", "100 %"])
    for number, batch in batches.items():
        speed = _flops(lambda batch=batch: average(graders, batch)) / median(times[str(number)])
        lines.append([f"grades of {number} points", f"{speed / 1e9:.3g}", f"{100 * speed / top:.0f} %"])
    return Part("What of the machine is used", markdown(["work", "GFLOP/s", "of the ceiling"], lines))


@torch.inference_mode()
def _stock(shipped: NoduleViT) -> Part:
    """The same transformer as timm makes it, reading all places of the mosaic as patches of one image."""
    config = shipped.config
    layout = config.layout
    rows = -(-layout.slices // layout.columns)
    size = (rows * layout.pixels, layout.columns * layout.pixels)
    stock = timm.create_model(
        config.transformer,
        img_size=size,
        patch_size=layout.pixels,
        in_chans=config.channels,
        num_classes=len(GRADES),
        embed_dim=config.dim,
        depth=config.depth,
        num_heads=config.heads,
    ).eval()
    plain = NoduleViT(type(config)(layout, config.windows, config.outline, embedding="linear", position="slot")).eval()
    nodules = collate(list(stacks(BATCH)))
    full = nodules._replace(valid=torch.ones_like(nodules.valid))
    image = torch.randn(BATCH, config.channels, *size)
    runs = {
        "stock timm ViT, whole mosaic": lambda: stock(image),
        "NoduleViT, linear embedding, every place filled": lambda: average([plain], full),
        "NoduleViT as shipped, the phantom's nodules": lambda: average([shipped], nodules),
        "NoduleViT as shipped, every place filled": lambda: average([shipped], full),
    }
    times = in_turns(runs, seconds=15)
    first, same = list(runs)[:2]
    lines = []
    for name, run in runs.items():
        seconds = median(times[name])
        flops = _flops(run)
        of_stock = f"{ratio(times[first], times[name]):.3g}"
        speeds = [f"{one:.3g}" for one in (flops / BATCH / 1e9, flops / seconds / 1e9)]
        lines.append([name, f"{BATCH / seconds:.4g}", of_stock, *speeds])
    return Part(
        f"Throughput of one network, batches of {BATCH} nodules",
        markdown(["network", "nodules/s", "of stock", "GFLOP a nodule", "GFLOP/s"], lines),
        (
            Figure(
                "throughput, against a stock timm ViT of the same size",
                100 * ratio(times[first], times[same]),
                90,
                "%",
                more=True,
            ),
        ),
    )


def _flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())
