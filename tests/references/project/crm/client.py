"""A remote customer system, as a fake of an HTTP API client."""


class CrmUnavailable(Exception):
    """Network trouble, 5xx or 429: worth another try."""

    def __init__(self, message: str = "", retry_after: int | None = None):
        super().__init__(message)
        self.retry_after = retry_after  # seconds, from the Retry-After header


class CrmRejected(Exception):
    """4xx: the request itself is wrong, and stays wrong."""


def upsert_contact(email: str, name: str, *, idempotency_key: str) -> str:
    """Create or update a contact and return its id."""
    return f"crm-{idempotency_key}"


def fetch_page(cursor: str | None = None) -> tuple[list[dict], str | None]:
    """Return one page of changed contacts and the cursor of the next page."""
    return [], None
