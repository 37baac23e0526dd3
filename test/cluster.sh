# cluster.sh: a directory for one run, and throw-away PostgreSQL servers in it. Sourced by run.sh.
#
# run_directory            makes RUN_DIR, in $TMPDIR, /tmp or /var/tmp; all that a run leaves lies
#                          in there, and it goes on exit, after a failure and on Ctrl-C.
# private_server [NAME]    PG_CONFIG becomes a copy in RUN_DIR of the server it names: kpxrec is
#                          installed there, so that no other server's files change, root is not
#                          needed, and runs do not disturb each other.
# cluster_start [preload]  makes and starts a server in RUN_DIR, on a Unix socket only, as an
#                          unprivileged user when called as root; sets PGHOST, PGUSER, PGPORT.
# cluster_stop             stops it and removes its data.

RUN_DIR=
CLUSTER_DIR=

# Runs a command as the user the server belongs to; who may not be able to enter our directory.
as_server_user() {
	if [ "$(id -u)" = 0 ]; then
		(cd / && runuser -u "$SERVER_USER" -- "$@")
	else
		"$@"
	fi
}

# Programs must run in it (/tmp may be noexec), by the server's user; a socket's name has 107 bytes.
run_directory() {
	local parent LC_ALL=C
	SERVER_USER=$(id -un)
	if [ "$(id -u)" = 0 ]; then
		SERVER_USER=postgres
		id "$SERVER_USER" >/dev/null 2>&1 || SERVER_USER=nobody
	fi
	for parent in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
		[ ${#parent} -le 60 ] && RUN_DIR=$(mktemp -d "$parent/kpxrec.XXXXXX" 2>/dev/null) || continue
		chmod 755 "$RUN_DIR"
		[ "$(id -u)" != 0 ] || chown "$SERVER_USER" "$RUN_DIR"
		cp "$(type -P true)" "$RUN_DIR/true" && as_server_user "$RUN_DIR/true" 2>/dev/null && break
		rm -rf "$RUN_DIR"
		RUN_DIR=
	done
	[ -n "$RUN_DIR" ] || { echo "no directory to work in: \$TMPDIR, /tmp or /var/tmp must be writable, with a name of at most 60 bytes, and allow programs to run"; exit 1; }
	trap finish EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	export TMPDIR=$RUN_DIR
}

# Stops whatever server still runs in RUN_DIR, also those of the Perl tests.
finish() {
	local pid
	trap '' INT TERM HUP
	find "$RUN_DIR" -name postmaster.pid 2>/dev/null | while IFS= read -r pid; do
		as_server_user "$BINDIR/pg_ctl" -D "$(dirname "$pid")" -m immediate -w stop >/dev/null 2>&1
	done
	rm -rf "$RUN_DIR"
}

# Links to everything in a directory.
mirror() { mkdir -p "$2" && ln -s "$1"/* "$2"/; }

# A server finds its directories relative to its programs, so the programs are copied and the
# rest are links. What is installed of kpxrec already is left behind.
private_server() {
	local to=$RUN_DIR/${1:-server} bin lib share include
	bin=$("$PG_CONFIG" --bindir) lib=$("$PG_CONFIG" --pkglibdir) share=$("$PG_CONFIG" --sharedir) include=$("$PG_CONFIG" --includedir-server)
	mkdir -p "$to$bin" && cp -L "$bin"/* "$to$bin/" && mirror "$lib" "$to$lib" && mirror "$share" "$to$share" &&
		rm "$to$share/extension" && mirror "$share/extension" "$to$share/extension" &&
		mkdir -p "$to$(dirname "$include")" && ln -s "$include" "$to$include" || exit 1
	rm -f "$to$lib/kpxrec.so" "$to$share/extension"/kpxrec*
	PG_CONFIG=$to$bin/pg_config
	export PG_CONFIG
	BINDIR=$to$bin
}

cluster_stop() {
	[ -n "$CLUSTER_DIR" ] || return 0
	as_server_user "$BINDIR/pg_ctl" -D "$CLUSTER_DIR/data" -m immediate -w stop >/dev/null 2>&1
	rm -rf "$CLUSTER_DIR"
	CLUSTER_DIR=
}

cluster_start() {
	CLUSTER_DIR=$RUN_DIR/cluster
	mkdir "$CLUSTER_DIR" && chmod 755 "$CLUSTER_DIR" || return 1
	[ "$(id -u)" != 0 ] || chown "$SERVER_USER" "$CLUSTER_DIR"
	as_server_user "$BINDIR/initdb" -D "$CLUSTER_DIR/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N \
		>"$CLUSTER_DIR/initdb.log" 2>&1 || { cat "$CLUSTER_DIR/initdb.log"; return 1; }
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
	as_server_user "$BINDIR/pg_ctl" -D "$CLUSTER_DIR/data" -l "$CLUSTER_DIR/log" -w -t 600 ${POSTMASTER:+-p "$POSTMASTER"} start >/dev/null ||
		{ tail -20 "$CLUSTER_DIR/log"; return 1; }
	PGHOST=$CLUSTER_DIR PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	export PGHOST PGPORT PGUSER PGDATABASE
	PATH=$BINDIR:$PATH
}
