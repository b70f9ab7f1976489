"""Slots of a limit that all workers share, kept in Redis and handed out in order by Redis's own clock."""

import redis
from django.conf import settings

client = redis.Redis.from_url(settings.CELERY_BROKER_URL)
RESERVE = client.register_script("""
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
local slot = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
redis.call('SET', KEYS[1], string.format('%.3f', slot + ARGV[1]), 'PX', math.ceil(slot - now + ARGV[1]) + 1000)
return math.ceil(slot - now)
""")


def reserve(name, per_second):
    """Take the next slot; the seconds until it."""
    return RESERVE(keys=[f"slots:{name}"], args=[1000 / per_second]) / 1000
