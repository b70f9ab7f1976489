#!/usr/bin/env python3
"""``python scripts/celery_audit``: put the package itself on the path, then run its command."""

import sys

if sys.version_info < (3, 9):  # noqa: UP036  an older interpreter gets as far as this line
    sys.exit("celery_audit: needs Python 3.9 or newer; this is %d.%d" % sys.version_info[:2])  # noqa: UP031

import gc
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.dont_write_bytecode = True  # an installed skill is not ours to write into

if __name__ == "__main__":
    gc.disable()  # a short life with few cycles: collecting them costs more than it frees
    from celery_audit.cli import main

    sys.exit(main())
