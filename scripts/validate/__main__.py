"""``python scripts/validate``: put the package itself on the path, then run its command."""

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    from validate.cli import main

    sys.exit(main())
