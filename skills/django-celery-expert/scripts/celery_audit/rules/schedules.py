"""DCE6xx: Beat and its schedules."""

from __future__ import annotations
