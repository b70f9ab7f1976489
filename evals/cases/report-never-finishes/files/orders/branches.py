"""The tills of our branches, as a fake of an HTTP API client.

``SHOP_BRANCHES`` says how branches answer that do not answer well: ``south=offline,west=garbled``.
"""

import os

BRANCHES = ["north", "south", "west"]


class BranchOffline(Exception):
    """No answer."""


def turnover(branch: str) -> str:
    """Yesterday's turnover of a branch, in euros."""
    trouble = dict(pair.split("=") for pair in os.environ.get("SHOP_BRANCHES", "").split(",") if pair)
    if trouble.get(branch) == "offline":
        raise BranchOffline(branch)
    return "???" if trouble.get(branch) == "garbled" else str(100 * len(branch))
