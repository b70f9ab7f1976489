from kombu import Exchange, Queue

ORDERS = Queue(
    "orders",
    Exchange("orders", type="direct"),
    routing_key="orders",
    queue_arguments={
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "dead",  # since 14 March, but nothing ever arrives
        "x-dead-letter-routing-key": "orders",
    },
)
