#!/usr/bin/env bash
# Runs the tests of delivery and a short chaos on RabbitMQ 4, from another suite of Debian. Needs root, mmdebstrap and 250 MB.
#
#     tests/rabbitmq4.sh [SUITE]      # trixie (RabbitMQ 4.0) by default
#
# The server needs its own Erlang and C library, so it runs in a directory tree of its own, which RABBITMQ_SERVER's scripts enter.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:-trixie}
tree=${RABBITMQ_TREE:-/var/tmp/rabbitmq-$suite}
scripts=$tree-sbin

if [ ! -x "$tree/usr/sbin/rabbitmqctl" ]; then
    mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
    mmdebstrap --variant=apt --include=rabbitmq-server,ca-certificates,procps \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
        "$suite" "$tree" "deb $mirror $suite main"
fi

sbin=$(cd "$tree" && echo usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin)
mkdir -p "$scripts"
for script in rabbitmq-server rabbitmqctl; do
    cat > "$scripts/$script" <<EOF
#!/bin/sh
exec unshare --mount sh -c '
    for directory in dev proc sys tmp; do mount --rbind "/\$directory" "$tree/\$directory" || exit; done
    exec chroot "$tree" "/$sbin/$script" "\$@"' "$script" "\$@"
EOF
    chmod +x "$scripts/$script"
done

export RABBITMQ_SERVER=$scripts REQUIRE_RABBITMQ=1
.venv/bin/python -m pytest -n 0 -q tests/tasks tests/flow/test_outages.py tests/flow/test_crashes.py
.venv/bin/python -m tests.chaos --commands 300 --fault nothing --fault "restart broker" --fault "kill worker" --fault poison
