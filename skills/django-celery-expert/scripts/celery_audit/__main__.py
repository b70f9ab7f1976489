#!/usr/bin/env python3
"""``python scripts/celery_audit``: put the package itself on the path, then run its command."""

import sys

if sys.version_info < (3, 9):  # noqa: UP036  an older interpreter gets as far as this line
    sys.exit("celery_audit: needs Python 3.9 or newer; this is %d.%d" % sys.version_info[:2])  # noqa: UP031

import os


def prepare():  # noqa: ANN201
    """Make sure that what is imported is ours or the standard library's.

    A project's own ``json.py`` would be found before them through PYTHONPATH, which Django projects like to set.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    given = {os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep)} | {here}
    if os.environ.get("PYTHONPATH"):
        given.add(os.getcwd())
    sys.path[:] = [os.path.dirname(here), *(path for path in sys.path if os.path.abspath(path) not in given)]
    sys.dont_write_bytecode = True  # an installed skill is not ours to write into


if __name__ == "__main__":
    if not __package__:
        prepare()
    import gc

    gc.disable()  # a short life with few cycles: collecting them costs more than it frees
    from celery_audit.cli import main

    sys.exit(main())
