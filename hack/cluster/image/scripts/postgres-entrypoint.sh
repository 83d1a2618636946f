#!/bin/bash
# Starts PostgreSQL on a data folder that it makes when there is none.
#
#   PGDATA                 data folder, made when it is empty; its parent may be
#                          a volume that any user can write to
#   POSTGRES_USER          administrator, default postgres
#   POSTGRES_PASSWORD      their password, or POSTGRES_PASSWORD_FILE; without
#                          either they connect by the Unix socket alone
#   POSTGRES_DB            database made at the start, default POSTGRES_USER
#   TLS_DIR                default /tls; with tls.crt and tls.key in it TLS is
#                          switched on, with ca.crt client certificates are
#                          asked for too
#   POSTGRES_REQUIRE_TLS   1 refuses connections without TLS
#   /docker-entrypoint-initdb.d/*.sql, *.sh
#                          run once, in order of name, in POSTGRES_DB
#
# Arguments are added to the server's command line ("-c", "log_statement=all").
set -euo pipefail

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
sockets=/run/postgresql
password=${POSTGRES_PASSWORD:-}
if [[ -n ${POSTGRES_PASSWORD_FILE:-} ]]; then
  password=$(<"$POSTGRES_PASSWORD_FILE")
fi

initialise() {
  # A start that was cut off half way is begun again, not taken for data.
  local new=$PGDATA.new
  rm -rf "$new"
  mkdir -p "$(dirname "$PGDATA")"
  local secret=()
  if [[ -n $password ]]; then
    (umask 077 && printf '%s\n' "$password" >"$sockets/password")
    secret=(--pwfile="$sockets/password")
  fi
  initdb --pgdata="$new" --username="$user" "${secret[@]}" \
    --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
  rm -f "$sockets/password"
  local log=$new/first-start.log
  pg_ctl --pgdata="$new" --log="$log" --wait --silent start \
    -o "-c listen_addresses='' -c unix_socket_directories=$sockets" || { cat "$log" >&2; exit 1; }
  if [[ $database != postgres ]]; then
    createdb --host=$sockets --username="$user" "$database"
  fi
  export PGHOST=$sockets PGUSER=$user PGDATABASE=$database
  local script
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sql) echo "postgres: running $script"; psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --file="$script" ;;
      *.sh) echo "postgres: running $script"; bash "$script" ;;
    esac
  done
  unset PGHOST PGUSER PGDATABASE
  pg_ctl --pgdata="$new" --wait --silent --mode=fast stop
  local kind=host
  if [[ ${POSTGRES_REQUIRE_TLS:-} == 1 ]]; then
    kind=hostssl
  fi
  cat >"$new/pg_hba.conf" <<EOF
local all         all                   trust
$kind all         all         all       scram-sha-256
$kind replication all         all       scram-sha-256
EOF
  mv "$new" "$PGDATA"
}

if [[ ! -s $PGDATA/PG_VERSION ]]; then
  initialise
fi

options=(-c "listen_addresses=*" -c "unix_socket_directories=$sockets" -c "password_encryption=scram-sha-256")
tls=${TLS_DIR:-/tls}
if [[ -f $tls/tls.crt && -f $tls/tls.key ]]; then
  # The server takes no key that others can read, and a mounted Secret's owner
  # is not ours.
  own=$sockets/tls
  mkdir -p "$own"
  install -m 0600 "$tls/tls.key" "$own/tls.key"
  install -m 0644 "$tls/tls.crt" "$own/tls.crt"
  options+=(-c ssl=on -c "ssl_cert_file=$own/tls.crt" -c "ssl_key_file=$own/tls.key")
  if [[ -f $tls/ca.crt ]]; then
    install -m 0644 "$tls/ca.crt" "$own/ca.crt"
    options+=(-c "ssl_ca_file=$own/ca.crt")
  fi
elif [[ ${POSTGRES_REQUIRE_TLS:-} == 1 ]]; then
  echo "postgres: POSTGRES_REQUIRE_TLS is set and $tls holds no tls.crt and tls.key" >&2
  exit 1
fi

exec postgres -D "$PGDATA" "${options[@]}" "$@"
