"""DCE7xx: settings."""

from __future__ import annotations
