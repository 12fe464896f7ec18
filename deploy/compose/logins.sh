#!/bin/sh
# Run once, when PostgreSQL's volume is new: the owner and the application's login, with the passwords
# of the two URLs.
set -eu

password() {
    sed -E 's|^[a-z]+://[^:/@]+:([^@]+)@.*$|\1|' "$1"
}

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres \
    --set=owner="$(password "${SECRETS:-/run/secrets}/database-admin-url")" \
    --set=application="$(password "${SECRETS:-/run/secrets}/database-url")" <<'SQL'
CREATE ROLE app_owner LOGIN PASSWORD :'owner';
CREATE ROLE app LOGIN PASSWORD :'application';
CREATE DATABASE app OWNER app_owner;
SQL
