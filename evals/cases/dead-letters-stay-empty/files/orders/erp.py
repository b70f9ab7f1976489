import os
import urllib.error
import urllib.request


class ErpError(Exception):
    pass


class Refused(ErpError):
    """The ERP has read the order and does not take it: somebody has to look at it."""


class Away(ErpError):
    """The ERP did not answer."""


def push(order):
    request = urllib.request.Request(f"{os.environ['ERP']}/orders/{order.pk}", method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = answer.read().decode()
    except (urllib.error.URLError, OSError) as error:
        raise Away(str(error)) from error
    if said != "ok":
        raise (Refused if said == "refused" else Away)(said)
