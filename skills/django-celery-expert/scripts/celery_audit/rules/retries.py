"""DCE4xx: retries and time limits."""

from __future__ import annotations
