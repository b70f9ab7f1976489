#!/bin/sh
# Only this pod's worker, and a longer wait than the default of one second.
exec celery -A shop inspect ping --destination "worker@$HOSTNAME" --timeout 5
