"""A read-only audit of a Django project that uses Celery: ``python scripts/celery_audit PROJECT``.

Standard library only, Python 3.9 or newer, no network. The audited code is parsed, never imported or executed.

One run: `files` finds what can matter → `module` parses each file once → `project` knows tasks, settings, schedules
and models → `rules` look at them → `report` says what was found.
"""
