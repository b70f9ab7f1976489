#!/bin/sh
touched=$(stat -c %Y "$PROBE_FILE" 2>/dev/null) || exit 1
[ "$(($(date +%s) - touched))" -le "${PROBE_PATIENCE:-60}" ] && exit 0
# No sign of life. While the broker is away the consumer cannot give one, and a restart would not bring it back.
python - <<'PYTHON'
import sys
from shop.celery import app

try:
    with app.connection_for_read(connect_timeout=3) as connection:
        connection.ensure_connection(max_retries=1, timeout=3)
except Exception:
    sys.exit(0)
sys.exit(1)
PYTHON
