from celery import shared_task

from catalog.encoding import encode
from catalog.limits import LONGEST_ENCODING


@shared_task(name="catalog.encode_video", acks_late=True, time_limit=LONGEST_ENCODING)
def encode_video(product_pk):
    encode(product_pk)
