from django.core.files.base import ContentFile
from django.core.files.storage import default_storage


def write_invoice(order, currency="EUR"):
    """Each call is an invoice with a number of its own; accounting picks the files up."""
    default_storage.save(f"invoices/{order.pk}.txt", ContentFile(f"Order {order.pk}: {order.total} {currency}\n"))
