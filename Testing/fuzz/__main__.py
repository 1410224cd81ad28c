"""``python -m Testing.fuzz packages 3000``: so many broken inputs; only results and sentences may come of them."""

from __future__ import annotations

import sys

from . import packages

KINDS = {"packages": packages}


def main(arguments: list[str]) -> None:
    """Run the kind that is named, as many times as is said."""
    if len(arguments) != 2 or arguments[0] not in KINDS or not arguments[1].isdecimal():
        sys.exit(f"Usage: python -m Testing.fuzz {'|'.join(KINDS)} COUNT")
    KINDS[arguments[0]].main(int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
