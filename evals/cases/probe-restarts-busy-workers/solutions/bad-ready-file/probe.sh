#!/bin/sh
# The worker makes the file when it is up and removes it when it goes.
test -f "$PROBE_FILE"
