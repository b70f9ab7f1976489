from celery import shared_task

from catalog.encoding import encode


# Acknowledged when it starts, so that Redis has nothing to deliver again.
@shared_task(name="catalog.encode_video", acks_late=False, time_limit=4 * 3600 + 600)
def encode_video(product_pk):
    encode(product_pk)
