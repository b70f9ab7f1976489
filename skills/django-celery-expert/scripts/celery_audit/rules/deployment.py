"""DCE8xx: deployment files, remote control and logging."""

from __future__ import annotations
