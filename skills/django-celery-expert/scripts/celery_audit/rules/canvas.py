"""DCE5xx: results, chains, groups and chords."""

from __future__ import annotations
