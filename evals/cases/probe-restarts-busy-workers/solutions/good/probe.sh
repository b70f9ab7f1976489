#!/bin/sh
# The worker touches PROBE_FILE every PROBE_EVERY seconds.
touched=$(stat -c %Y "$PROBE_FILE" 2>/dev/null) || exit 1
age=$(($(date +%s) - touched))
[ "$age" -le "${PROBE_PATIENCE:-60}" ]
