"""Make pictures small: ``python -m Testing.release.pictures FILE...``.

Each PNG gets at most ``WIDEST`` columns and a palette: half of it greys, for CTs, half of it the picture's own colours,
so that a heatmap keeps its own. That halves what every checkout and archive carries.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

#: As wide as a page shows it.
WIDEST = 1152
#: From this difference between its channels on, a pixel counts as coloured.
COLOURED = 16


def shrink(path: Path) -> None:
    """Write a PNG smaller, unless it would grow."""
    with Image.open(path) as opened:
        if opened.mode == "P":
            return
        image = opened.convert("RGB")
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    small = image.quantize(palette=palette(image), dither=Image.Dither.NONE)
    beside = path.with_suffix(".small.png")
    small.save(beside, optimize=True)
    if beside.stat().st_size < path.stat().st_size:
        beside.replace(path)
    else:
        beside.unlink()


def palette(image: Image.Image) -> Image.Image:
    """128 greys and at most 128 of the picture's colours, as the palette of an image."""
    pixels = np.asarray(image).reshape(-1, 3)
    coloured = pixels[np.ptp(pixels.astype(int), axis=1) >= COLOURED]
    greys = np.repeat(np.linspace(0, 255, 128).round().astype(np.uint8), 3)
    own = Image.fromarray(coloured[None]).quantize(128).getpalette() if len(coloured) else []
    holder = Image.new("P", (1, 1))
    holder.putpalette([*greys.tolist(), *(own or [])][: 3 * 256])
    return holder


if __name__ == "__main__":
    for name in sys.argv[1:]:
        shrink(Path(name))
