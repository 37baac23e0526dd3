# long.sh: what make check-long runs beside make fuzz. Sourced by run.sh.

# ---------------------------------------------------------------- random SQL

# Each XX000 of a log with verbose errors: how often, from where.
internal_errors() {
	awk '/ERROR: +XX000:/ { message = $0; sub(/.*XX000: */, "", message); gsub(/[0-9]+/, "N", message) }
		message != "" && /LOCATION:/ { sub(/.*LOCATION: */, ""); count[$0 "  " message]++; message = "" }
		END { for (m in count) print count[m], m }' "$1" | sort -rn
}

# SQLSMITH_SECONDS (1200) of queries by a role that owns nothing. What fails: a crash, or an internal error raised by a file of ours.
random_sql() {
	local out=$RUN_DIR/sqlsmith.out own
	cluster_start kpxrec || return 1
	createdb smith && psql -Xq -d smith -f test/long/sqlsmith.sql || return 1
	timeout "${SQLSMITH_SECONDS:-1200}" sqlsmith --verbose --exclude-catalog --seed="${SQLSMITH_SEED:-1}" --target="host=$PGHOST port=$PGPORT dbname=smith user=smith" >"$out" 2>&1
	[ $? = 124 ] || { tail -20 "$out"; echo "sqlsmith ended by itself"; return 1; }
	printf '        %s queries, %s errors; lines of the log that name a function of ours: %s\n' \
		"$(psql -XAtq -d smith -c "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'smith'")" \
		"$(grep -c 'ERROR: ' "$CLUSTER_DIR/log")" "$(grep -c 'kpx_' "$CLUSTER_DIR/log")"
	grep -oE 'ERROR: +[0-9A-Z]{5}' "$CLUSTER_DIR/log" | awk '{ n[$2]++ } END { for (s in n) print "        " n[s], s }' | sort -rn | head -12
	internal_errors "$CLUSTER_DIR/log" >"$RUN_DIR/internal"
	head -20 "$RUN_DIR/internal"
	own=$(ls src/pg/*.c | sed 's|.*/\(.*\)|, \1:|')
	! grep -F "$own" "$RUN_DIR/internal" && ! grep -E "terminated by signal|TRAP:|PANIC" "$CLUSTER_DIR/log" || { grep -aE -A8 "terminated by signal" "$CLUSTER_DIR/log" | cut -c1-4000; return 1; }
	[ "$(psql -XAtq -d smith -c "SELECT count(*) FROM kpx_recommend(1::bigint, 'courses', 3)")" = 3 ] || { echo "it does not answer any more"; return 1; }
	cluster_stop
}

# ---------------------------------------------------------------- valgrind

# A wrapper that pg_ctl starts in place of the server.
valgrind_server() {
	cat >"$RUN_DIR/valgrind-postgres" <<-EOF
		#!/bin/sh
		exec valgrind --quiet --trace-children=yes --leak-check=no --num-callers=30 --xml=yes --xml-file=$RUN_DIR/vg.%p.xml "$BINDIR/postgres" "\$@"
	EOF
	chmod +x "$RUN_DIR/valgrind-postgres"
}

# Errors with a frame of ours, from all processes' files: kind, frames. Leaks are left out (memory contexts and what lives as long
# as its process are none), and so are writes of bytes never set (the server writes the padding of its own structures).
own_errors() {
	perl -0777 -ne 'while (m|<error>(.*?)</error>|gs) { my $e = $1; next if $e !~ m|<obj>[^<]*/kpxrec\.so</obj>|;
		my ($kind) = $e =~ m|<kind>(.*?)</kind>|;
		next if $kind =~ /^(Leak_|SyscallParam)/; my @f = $e =~ m|<fn>(.*?)</fn>|g; print "$kind: ", join(" < ", @f[0 .. ($#f < 9 ? $#f : 9)]), "\n" }' "$RUN_DIR"/vg.*.xml | sort | uniq -c | sort -rn
}

# VALGRIND_TESTS: files of test/pgtap, on a server under valgrind. The server is the distribution's, which does not tell
# valgrind of its memory contexts: what is seen are values never set, and reads and writes outside of whole blocks of malloc.
under_valgrind() {
	local file status=0
	valgrind_server
	POSTMASTER=$RUN_DIR/valgrind-postgres cluster_start kpxrec || return 1
	for file in ${VALGRIND_TESTS:-model profile recommend content rules}; do
		pgtap_file "test/pgtap/$file.sql" || { echo "$file failed under valgrind"; status=1; }
	done
	as_server_user "$BINDIR/pg_ctl" -D "$CLUSTER_DIR/data" -m fast -w -t 600 stop >/dev/null 2>&1
	no_crash || status=1
	own_errors >"$RUN_DIR/valgrind.errors"
	echo "        $(ls "$RUN_DIR"/vg.*.xml | wc -l) processes, $(cat "$RUN_DIR"/vg.*.xml | grep -c '<error>') errors of all code, $(wc -l <"$RUN_DIR/valgrind.errors") places of ours"
	[ ! -s "$RUN_DIR/valgrind.errors" ] || { cat "$RUN_DIR/valgrind.errors"; status=1; }
	cluster_stop
	return $status
}

check_long() {
	fuzz
	build_and_install
	step "sqlsmith" random_sql
	step "valgrind" under_valgrind
	LOAD_SECONDS=${LOAD_SECONDS:-600} LONG=1
	export LOAD_SECONDS LONG
	perl_tests
}
