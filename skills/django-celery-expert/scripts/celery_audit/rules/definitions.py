"""DCE3xx: how tasks are defined."""

from __future__ import annotations
