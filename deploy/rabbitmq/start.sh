#!/bin/sh
# Starts RabbitMQ with the accounts of definitions.json. Their passwords are those of the environment, at each start anew.
set -eu
umask 077
source=$(dirname "$0")
directory=${1:-/etc/rabbitmq}
definitions=$directory/definitions

fill=""
for name in $(grep -o 'RABBITMQ_[A-Z_]*' "$source/definitions.json"); do
    value=$(printenv "$name") || value=""
    case $value in "" | *[!A-Za-z0-9]*) echo "$name must be letters and digits" >&2; exit 1 ;; esac
    fill="$fill;s/\${$name}/$value/"
done
# In this order: RabbitMQ 4.2 and later do not start with permissions for the topics of an exchange that does not exist.
mkdir -p "$definitions"
cp "$source/exchange.json" "$definitions/1-exchange.json"
sed "$fill" "$source/definitions.json" > "$definitions/2-accounts.json"
echo "load_definitions = $definitions" > "$directory/conf.d/50-definitions.conf"
[ "$(id -u)" != 0 ] || chown -R rabbitmq "$definitions" "$directory/conf.d/50-definitions.conf"

exec docker-entrypoint.sh rabbitmq-server
