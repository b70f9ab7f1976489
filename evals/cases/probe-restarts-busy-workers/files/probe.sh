#!/bin/sh
exec celery -A shop inspect ping
