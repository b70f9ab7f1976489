from celery import shared_task

from catalog.encoding import encode


@shared_task(name="catalog.encode_video", acks_late=True, time_limit=4 * 3600 + 600)
def encode_video(product_pk):
    encode(product_pk)
