"""The rules, one module a group. Importing this package registers them all."""

from . import calls, canvas, definitions, deployment, retries, schedules, settings, transactions

__all__ = ["calls", "canvas", "definitions", "deployment", "retries", "schedules", "settings", "transactions"]
