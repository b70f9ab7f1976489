"""Prices of the carrier; the web pages call it too."""

import logging

logger = logging.getLogger(__name__)


def quote(order_pk):
    logger.info('carrier "Snail" quotes order %s', order_pk)
    return 4.95
