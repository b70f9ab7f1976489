"""django-integration: publishing after the commit of another database."""

from __future__ import annotations

import pytest
from shop import SENT, MakeShop, Shop


@pytest.fixture
def two_databases(shop: MakeShop) -> Shop:
    """A shop whose orders are in the database "orders" and everything else in "default"."""
    shop = shop("django-integration")
    shop.tasks(SENT)
    shop.do(
        """
        import shutil
        from functools import partial
        from django.db import connections, router, transaction
        from orders.tasks import send_receipt
        from proofs.tasks import sent

        class Router:
            def db_for_write(self, model, **hints):
                return "orders" if model._meta.app_label == "orders" else "default"

            db_for_read = db_for_write

        default = connections.settings["default"]
        connections.settings["orders"] = {**default, "NAME": default["NAME"] + ".orders"}
        shutil.copy(default["NAME"], connections.settings["orders"]["NAME"])
        router.routers = [Router()]
        with connections["orders"].cursor() as cursor:  # the customer is in the other file
            cursor.execute("PRAGMA foreign_keys = OFF")
        """
    )
    return shop


@pytest.mark.proves("django-integration#several-databases")
def test_other_alias(two_databases: Shop) -> None:
    """Inside `atomic(using="orders")` delay_on_commit sends before the commit and in spite of a rollback, as it asks
    `default` only. on_commit on the alias that the router names for writing waits for that commit, and a rollback sends
    nothing."""
    two_databases.do(
        """
        def transactions(publish):
            counts = []
            sent.clear()
            for rollback in (False, True):
                with transaction.atomic(using="orders"):
                    publish(Order.objects.create(customer_id=1).pk)
                    counts.append(len(sent))
                    transaction.set_rollback(rollback, using="orders")
                counts.append(len(sent))
            return counts

        def page(pk):
            alias = router.db_for_write(Order)
            transaction.on_commit(partial(send_receipt.delay, pk), using=alias)
        """
    )
    assert two_databases.ask("transactions(send_receipt.delay_on_commit)") == [1, 1, 2, 2]
    assert two_databases.ask("transactions(page)") == [0, 1, 1, 1]


@pytest.mark.proves("django-integration#several-databases")
def test_two_aliases(two_databases: Shop) -> None:
    """Of two databases the inner block commits first: a callback on its alias sends while the outer one can still be
    rolled back, and then does so. A callback on the outermost block's alias sends when both are committed, and nothing
    when the outer is rolled back."""
    two_databases.do(
        """
        def both(alias, rollback):
            sent.clear()
            User.objects.all().delete()
            with transaction.atomic(using="default"):
                with transaction.atomic(using="orders"):
                    user = User.objects.create(username="customer")
                    order = Order.objects.create(customer_id=user.pk)
                    transaction.on_commit(partial(send_receipt.delay, order.pk), using=alias)
                early = len(sent)
                transaction.set_rollback(rollback, using="default")
            return [early, len(sent), User.objects.count()]
        """
    )
    assert two_databases.ask("[both('orders', False), both('orders', True)]") == [[1, 1, 1], [1, 1, 0]]
    assert two_databases.ask("[both('default', False), both('default', True)]") == [[0, 1, 1], [0, 0, 0]]
