"""The CRM's HTTP API."""

import json
import os
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ADDRESS = os.environ.get("CRM_ADDRESS", "https://crm.example.com")
CALLS_PER_SECOND = int(os.environ.get("CRM_CALLS_PER_SECOND", "10"))  # of our account; as in the contract


class CrmUnavailable(Exception):
    """Network trouble or 5xx: worth another try."""


def upsert_contact(email: str, name: str, *, idempotency_key: str) -> str:
    """Create or update a contact and return its id."""
    body = json.dumps({"email": email, "name": name}).encode()
    request = Request(f"{ADDRESS}/contacts", body, {"Idempotency-Key": idempotency_key})
    try:
        with urlopen(request, timeout=20) as answer:
            return json.load(answer)["id"]
    except HTTPError as error:
        if error.code < 500:
            raise
        raise CrmUnavailable(str(error)) from error
    except URLError as error:
        raise CrmUnavailable(str(error)) from error
