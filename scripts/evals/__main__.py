"""``python scripts/evals``: put the package itself and the private servers on the path, then run its command."""

import sys
from pathlib import Path

if not __package__:
    here = Path(__file__).resolve()
    sys.path[:1] = [str(here.parents[1]), str(here.parents[2] / "tests" / "proofs")]

if __name__ == "__main__":
    from evals.cli import main

    sys.exit(main())
