"""Names are real: what a page calls Celery's, Django's or another package's is in the packages installed here.

Not imported with the other checks, because these need Celery and Django: ``python scripts/validate --installed``.
What is a setting, an option, a signal is read from the packages themselves, so an upgrade of them updates the checks.
"""

from . import imports, options, rule, runtime, settings

__all__ = ("imports", "options", "rule", "runtime", "settings")
