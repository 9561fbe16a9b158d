#!/bin/sh
# Starts Grafana. Without a password of yours its user `admin` has a known one.
export GF_SECURITY_ADMIN_PASSWORD="${GRAFANA_PASSWORD:?must be set}"
exec /run.sh
