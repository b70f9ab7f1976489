"""DCE2xx: calls of tasks, and what they send."""

from __future__ import annotations
