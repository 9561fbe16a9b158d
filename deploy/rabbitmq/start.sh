#!/bin/sh
# Starts RabbitMQ with the accounts of definitions.json. Their passwords are those of the environment, at each start anew.
set -eu
umask 077
directory=${1:-/etc/rabbitmq}

fill=""
for name in $(grep -o 'RABBITMQ_[A-Z_]*' "$(dirname "$0")/definitions.json"); do
    value=$(printenv "$name") || value=""
    case $value in "" | *[!A-Za-z0-9]*) echo "$name must be letters and digits" >&2; exit 1 ;; esac
    fill="$fill;s/\${$name}/$value/"
done
sed "$fill" "$(dirname "$0")/definitions.json" > "$directory/definitions.json"
echo "load_definitions = $directory/definitions.json" > "$directory/conf.d/50-definitions.conf"
[ "$(id -u)" != 0 ] || chown rabbitmq "$directory/definitions.json" "$directory/conf.d/50-definitions.conf"

exec docker-entrypoint.sh rabbitmq-server
