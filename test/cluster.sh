# cluster.sh: a throw-away PostgreSQL server. Sourced by run.sh and by .ci/run's steps.
#
# cluster_start [preload]  makes a server in a new temporary directory, on a Unix socket
# only, as an unprivileged user when called as root; sets PGHOST, PGUSER, PGPORT.
# cluster_stop stops it and removes the directory; also done on exit and on Ctrl-C.

CLUSTER_DIR=

# Runs a command as the user the server belongs to.
as_server_user() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u "$SERVER_USER" -- "$@"
	else
		"$@"
	fi
}

cluster_stop() {
	[ -n "$CLUSTER_DIR" ] || return 0
	as_server_user "$BINDIR/pg_ctl" -D "$CLUSTER_DIR/data" -m immediate -w stop >/dev/null 2>&1
	rm -rf "$CLUSTER_DIR"
	CLUSTER_DIR=
}

cluster_start() {
	BINDIR=$("$PG_CONFIG" --bindir)
	SERVER_USER=postgres
	CLUSTER_DIR=$(mktemp -d "${TMPDIR:-/tmp}/kpxrec.XXXXXX")
	trap 'cluster_stop' EXIT
	trap 'cluster_stop; exit 130' INT TERM HUP
	if [ "$(id -u)" = 0 ]; then
		id "$SERVER_USER" >/dev/null 2>&1 || SERVER_USER=nobody
		chown "$SERVER_USER" "$CLUSTER_DIR"
	fi
	as_server_user "$BINDIR/initdb" -D "$CLUSTER_DIR/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N \
		>"$CLUSTER_DIR.initdb" 2>&1 || { cat "$CLUSTER_DIR.initdb"; rm -f "$CLUSTER_DIR.initdb"; return 1; }
	rm -f "$CLUSTER_DIR.initdb"
	cat >>"$CLUSTER_DIR/data/postgresql.conf" <<-EOF
		listen_addresses = ''
		unix_socket_directories = '$CLUSTER_DIR'
		port = 5432
		shared_buffers = ${SHARED_BUFFERS:-128MB}
		fsync = off
		max_wal_size = 4GB
		log_min_messages = warning
		timezone = 'UTC'
		shared_preload_libraries = '${1:-}'
	EOF
	chmod 755 "$CLUSTER_DIR"
	as_server_user "$BINDIR/pg_ctl" -D "$CLUSTER_DIR/data" -l "$CLUSTER_DIR/log" -w start >/dev/null ||
		{ tail -20 "$CLUSTER_DIR/log"; return 1; }
	PGHOST=$CLUSTER_DIR PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	export PGHOST PGPORT PGUSER PGDATABASE
	unset PGPASSWORD PGSERVICE PGOPTIONS
	PATH=$BINDIR:$PATH
}
