"""``python scripts/validate``: put the package itself on the path, then run its command."""

import gc
import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    gc.disable()  # a short life with few cycles: collecting them costs more than it frees
    from validate.cli import main

    sys.exit(main())
