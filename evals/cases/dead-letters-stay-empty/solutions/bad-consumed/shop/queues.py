from kombu import Exchange, Queue

DEAD = Queue(
    "dead",
    Exchange("dead", type="direct"),
    routing_key="orders",
    queue_arguments={"x-queue-type": "quorum"},
)
ORDERS = Queue(
    "orders",
    Exchange("orders", type="direct"),
    routing_key="orders",
    queue_arguments={
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "dead",
        "x-dead-letter-routing-key": "orders",
    },
)
