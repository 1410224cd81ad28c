"""Print the oldest version of each dependency that pyproject.toml promises to work with, for ``make test-oldest``."""

from __future__ import annotations

import sys
from importlib.metadata import requires

from packaging.requirements import Requirement

#: Several GB in every version: ``make test-oldest`` uses the one of the other tests.
SHARED = {"torch", "torchvision"}


def oldest(extras: list[str]) -> list[str]:
    """``name==version`` for each lower bound of NoduleRisk and of these extras."""
    pins = set()
    for line in requires("NoduleRisk") or []:
        requirement = Requirement(line)
        marker = requirement.marker
        wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
        if wanted and requirement.name not in SHARED:
            pins |= {f"{requirement.name}=={one.version}" for one in requirement.specifier if one.operator == ">="}
    return sorted(pins)


if __name__ == "__main__":
    print("\n".join(oldest(sys.argv[1:])))
