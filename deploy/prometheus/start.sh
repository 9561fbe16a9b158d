#!/bin/sh
# Starts Prometheus with the token for /metrics in a file. Compose puts no secret of the environment into a read-only container.
set -eu
umask 077
printf %s "${METRICS_TOKEN:?must be set}" > /tmp/metrics_token
exec /bin/prometheus "$@"
