"""``python -m Testing.browser.screenshot``: the README's picture of the page, taken of the page itself."""

from __future__ import annotations

import io
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing" / "browser"), str(ROOT / "Testing" / "unit")]
#: Where it lies, and how large it is at most, bytes.
PICTURE, LARGEST = ROOT / "Resources" / "browser.jpg", 400_000


def main() -> None:
    """Open the demo, place a point on its nodule, wait until all is drawn, keep what is seen."""
    from chromium import launched
    from driving import Server, opened, place_point, settled
    from PIL import Image

    server = Server("--demo")
    try:
        with launched() as browser, opened(server, browser, 1440, 900) as page:
            place_point(page)
            page.mouse.move(5, 5)
            for view in ("Red", "ThreeD"):
                settled(page, view)
            taken = io.BytesIO(page.screenshot())
    finally:
        server.stop()
    # A JPEG file without coarser colours: the heatmap keeps them, and the picture is a third as large.
    Image.open(taken).convert("RGB").save(PICTURE, quality=88, subsampling=0, optimize=True)
    assert PICTURE.stat().st_size < LARGEST, PICTURE.stat().st_size


if __name__ == "__main__":
    main()
