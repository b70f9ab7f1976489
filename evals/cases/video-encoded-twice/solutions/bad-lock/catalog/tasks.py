import redis
from celery import shared_task
from django.conf import settings

from catalog.encoding import encode

locks = redis.Redis.from_url(settings.CELERY_BROKER_URL)


@shared_task(name="catalog.encode_video", acks_late=True, time_limit=4 * 3600 + 600)
def encode_video(product_pk):
    lock = locks.lock(f"encode-{product_pk}", timeout=5 * 3600)
    if not lock.acquire(blocking=False):
        return  # it is being encoded already
    try:
        encode(product_pk)
    finally:
        lock.release()
