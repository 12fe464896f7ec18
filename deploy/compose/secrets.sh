#!/bin/sh
# Makes the secrets of compose.yaml in deploy/secrets/, but the access key, which is read from standard
# input. What is there already stays. As root, so that the users of the containers can read them.
#
#   sudo deploy/compose/secrets.sh < access-key
set -eu
cd "$(dirname "$0")/.."
umask 077
mkdir -p "${SECRETS:-secrets}"
cd "${SECRETS:-secrets}"

keep() {
    [ -e "$1" ] || cat >"$1.new"
    [ -e "$1" ] || mv "$1.new" "$1"
}

# No TLS: this network ends at the machine, and only the two are in it.
url() {
    echo "postgres://$1:$(openssl rand -hex 24)@postgres/app?sslmode=disable"
}

[ -e access-key ] || keep access-key
[ -s access-key ] || { rm access-key && echo "the access key is empty" >&2 && exit 1; }
openssl rand -base64 32 | keep binding-key
openssl rand -hex 24 | keep postgres-password
url app | keep database-url
url app_owner | keep database-admin-url
# vestibule's user, and PostgreSQL's group.
[ "$(id -u)" != 0 ] || chown 65532:999 ./*
chmod 640 ./*
