#!/bin/sh
# Makes the secrets that compose.yaml needs, below secrets/ beside this script. One that is there already is not touched, so it can run again.
set -eu
umask 077

cd "$(dirname "$0")"
mkdir -p secrets
# Each file is readable for the users of the containers, who are nobody on this machine; this folder keeps everybody else away from them.
chmod 0700 secrets
cd secrets

for name in database-password encryption-key; do
    if [ ! -s "$name" ]; then
        # Whole or not there: what was cut short must not become a secret.
        openssl rand -base64 32 >"$name.new"
        chmod 0444 "$name.new"
        mv "$name.new" "$name"
        echo "made secrets/$name" >&2
    fi
done
echo "keep a copy of secrets/encryption-key elsewhere: without it the secrets in the database are lost" >&2
