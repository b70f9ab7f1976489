"""The supplier's CSV reader. Theirs is compiled C; this stand-in does what theirs does, and is not ours to change."""

import os
import signal


def read(path: str) -> list[dict[str, str]]:
    """The rows of a file with the columns email and name."""
    with open(path, "rb") as file:
        content = file.read()
    if b"\0" in content:
        os.kill(os.getpid(), signal.SIGSEGV)  # theirs reads beyond its buffer
    rows = [line.split(",") for line in content.decode().splitlines()[1:]]
    return [{"email": email, "name": name} for email, name in rows]
