#!/bin/sh
# Write the secret files that compose.yaml names, once: what is there is kept. Run it as root: the password file of
# PostgreSQL's clients must belong to the user of the containers and to nobody else, or libpq ignores it.
#   sudo ./make-secrets.sh KEY_FILE [FOLDER]
set -eu
[ $# -ge 1 ] || { echo "usage: make-secrets.sh KEY_FILE [FOLDER]   (KEY_FILE holds your TikLiveAPI key)" >&2; exit 2; }
key_file=$1
folder=${2:-$(dirname "$0")/secrets}
uid=10001

[ -s "$key_file" ] || { echo "make-secrets.sh: $key_file holds no key" >&2; exit 2; }
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

# Hexadecimal: needs no quoting in any of the formats below.
word() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
# Reads stdin. The folder is closed to others; inside it each container reads what it is handed, whatever its user.
keep() { [ -e "$folder/$1" ] || { cat >"$folder/$1.new"; chmod "$2" "$folder/$1.new"; mv "$folder/$1.new" "$folder/$1"; }; }

tr -d '\r\n' <"$key_file" | keep tiklive_key 0444
word | keep postgres_password 0444
printf clipledger | keep s3_user 0444
word | keep s3_password 0444
word | keep grafana_password 0444
printf 'postgres:5432:clipledger:clipledger:%s\n' "$(cat "$folder/postgres_password")" | keep pgpass 0600
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' \
    "$(cat "$folder/s3_user")" "$(cat "$folder/s3_password")" | keep aws_credentials 0444

if [ "$(id -u)" = 0 ]; then
    chown "$uid:$uid" "$folder/pgpass"
else
    echo "make-secrets.sh: not root: run  sudo chown $uid:$uid $folder/pgpass" >&2
fi
