"""``python -m NoduleRiskLib``: the command line, once what it needs is known to be installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

#: The extra ``cli``: what the library itself does without.
NEEDED = ("typer", "rich", "matplotlib", "filelock")


def main() -> None:
    """Run the command line, or say in one sentence what is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"The command line also needs {', '.join(missing)}: run python -m pip install {' '.join(missing)}.",
            file=sys.stderr,
        )
        sys.exit(2)
    from .cli.commands import main as run

    run()


if __name__ == "__main__":
    main()
