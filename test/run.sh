#!/bin/bash
# run.sh demo|check|check-long|fuzz|coverage|bench|lint: installs what is missing, builds, and runs it on a throw-away
# server. Called by make; environment: PG_CONFIG, KEEP, DATA, ONLY.
set -u
cd "$(dirname "$0")/.." || exit 1
. test/packages.sh
. test/cluster.sh
. test/fuzz/fuzz.sh
. test/coverage.sh
. test/long/long.sh
task=$1
PG_CONFIG=${PG_CONFIG:-pg_config}
passed=0
failed=0
multiarch=$(gcc -print-multiarch 2>/dev/null || echo "$(uname -m)-linux-gnu")
BLAS_INCLUDE=${OPENBLAS_INCLUDE:-/usr/include/$multiarch/openblas-serial}
BLAS_LIBRARY=${OPENBLAS_DIR:-/usr/lib/$multiarch/openblas-serial}/libopenblas.a
# a server we did not start is none of our business
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE PGOPTIONS PGDATA
# DATA=file.csv is meant for the demo, not for the make that installs
unset MAKEFLAGS MFLAGS MAKEOVERRIDES

stop() {
	echo "$1" >&2
	exit 1
}

# ---------------------------------------------------------------- building

# One build at a time in this directory; the server it goes to is ours alone.
build_and_install() {
	private_server
	echo "building for $("$PG_CONFIG" --version)"
	(
		flock 9
		make -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" ${CC:+CC="$CC"} "$@" && make -s PG_CONFIG="$PG_CONFIG" ${CC:+CC="$CC"} install >/dev/null
	) 9<Makefile || exit 1
}

# OLD_PG_CONFIG=...: 042_pg_upgrade.pl upgrades from that server, which gets kpxrec first.
build_older() {
	local PG_CONFIG=$OLD_PG_CONFIG BINDIR
	build_and_install
	OLD_INSTALL=$(dirname "$BINDIR")
	export OLD_INSTALL
}

# step NAME COMMAND...: runs it, counts it. ONLY=regexp runs the steps whose names match.
step() {
	local name=$1
	shift
	[[ "$name" =~ ${ONLY:-} ]] || return 0
	if "$@"; then
		passed=$((passed + 1))
		echo "ok      $name"
	else
		failed=$((failed + 1))
		echo "FAILED  $name"
	fi
}

# Does ONLY want a step named on one of these lines? Saves starting servers.
wanted() { grep -qE -e "${ONLY:-}"; }

# ---------------------------------------------------------------- check

clang_is_clean() {
	local server
	server=$("$PG_CONFIG" --includedir-server)
	for file in src/core/*.c src/pg/*.c; do
		clang -std=gnu11 -fsyntax-only -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
			-Wno-missing-field-initializers -D_GNU_SOURCE -Isrc -I"$BLAS_INCLUDE" -isystem "$server" "$file" || return 1
	done
}

# src/core is compiled once under the sanitizers, for all of its tests.
core_library() {
	CORE_FLAGS='-std=gnu11 -O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all'
	export CORE_FLAGS BLAS_INCLUDE CORE_DIR
	printf '%s\n' src/core/*.c | xargs -P 2 -I{} sh -c \
		'gcc $CORE_FLAGS -Isrc "-I$BLAS_INCLUDE" -c {} -o "$CORE_DIR/$(basename {} .c).o"' && touch "$CORE_DIR/compiled"
}

core_test() {
	[ -f "$CORE_DIR/compiled" ] || core_library || return 1
	gcc $CORE_FLAGS -Isrc "-I$BLAS_INCLUDE" "$1" "$CORE_DIR"/*.o "$BLAS_LIBRARY" -lm -o "$CORE_DIR/test" &&
		"$CORE_DIR/test"
}

# pg_regress looks for expected/ in its output directory, from 16 on in --expecteddir.
regress() {
	local dir=$RUN_DIR/regress expected=
	mkdir "$dir" && ln -s "$PWD/expected" "$dir/expected" || return 1
	[ "$VERSION" -ge 16 ] && expected=--expecteddir=$dir
	"$(dirname "$("$PG_CONFIG" --pgxs)")/../test/regress/pg_regress" --bindir="$BINDIR" --inputdir=test --outputdir="$dir" $expected \
		--dbname="regress_$1" $(cd test/sql && ls -- *.sql | sed 's/\.sql$//') >"$dir/out" 2>&1 ||
		{ cat "$dir/out" "$dir/regression.diffs"; cp "$dir/regression.diffs" .; return 1; }
	rm -rf "$dir"
}

# Sessions beside each other, step by step; some servers are installed without the tester.
isolation() {
	local tester dir=$RUN_DIR/isolation expected=
	tester=$(dirname "$("$PG_CONFIG" --pgxs)")/../test/isolation
	[ -x "$tester/isolationtester" ] || { echo "SKIPPED: this server was installed without $tester/isolationtester"; return 0; }
	mkdir "$dir" && ln -s "$PWD/test/isolation/expected" "$dir/expected" || return 1
	[ "$VERSION" -ge 16 ] && expected=--expecteddir=$dir
	createdb isolation && psql -Xq -v ON_ERROR_STOP=1 -d isolation -f test/isolation/setup.sql || return 1
	"$tester/pg_isolation_regress" --bindir="$BINDIR" --inputdir=test/isolation --outputdir="$dir" $expected --use-existing \
		--dbname=isolation $(cd test/isolation/specs && ls -- *.spec | sed 's/\.spec$//') >"$dir/out" 2>&1 ||
		{ cat "$dir/out" "$dir/output_iso/regression.diffs" "$dir/regression.diffs" 2>/dev/null; rm -rf "$dir"; return 1; }
	dropdb isolation && rm -rf "$dir"
}

pgtap_file() {
	local database
	database=tap_$(basename "$1" .sql)
	createdb "$database" && psql -q -d "$database" -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION kpxrec' &&
		pg_prove -d "$database" -q --ext .sql "$1" >"$RUN_DIR/tap.out" 2>&1 || {
		cat "$RUN_DIR/tap.out"
		# once more, for what was had and what was wanted
		psql -XqAt -d "$database" -f "$1" 2>&1 | grep -E '^not ok|^#|ERROR'
		return 1
	}
	dropdb "$database"
}

# SQL tests on one server, preloaded or not.
server_tests() {
	local how=$1
	{ echo "pg_regress ($how)"; [ -z "$2" ] || echo isolation; ls test/pgtap/*.sql | sed "s|.*/\(.*\)\.sql|pgtap \1 ($how)|"; } | wanted || return 0
	cluster_start "$2" || { failed=$((failed + 1)); return; }
	DATA_DIR=$PWD/../shared/data
	export DATA_DIR
	step "pg_regress ($how)" regress "${how// /_}"
	[ -z "$2" ] || step "isolation" isolation
	for file in test/pgtap/*.sql; do
		step "pgtap $(basename "$file" .sql) ($how)" pgtap_file "$file"
	done
	step "no crash in the server's log ($how)" no_crash
	cluster_stop
}

# The examples of the documentation print what is written.
documentation() {
	grep -l '^```sql$' README.md docs/*.md | wanted || return 0
	cluster_start "" || { failed=$((failed + 1)); return; }
	for file in $(grep -l '^```sql$' README.md docs/*.md); do
		step "$file" test/docs/run.sh "$file"
	done
	cluster_stop
}

no_crash() {
	! grep -E "terminated by signal|TRAP:|PANIC|XX000" "$CLUSTER_DIR/log"
}

# A second server, whose kpxrec has the fault points of src/pg/fault.h: only files that have any are compiled again.
# Prints the directory of its programs.
fault_server() {
	local dir=$RUN_DIR/fault_build
	mkdir "$dir" && cp -pr Makefile kpxrec.control sql src .built-for "$dir/" &&
		rm -f $(grep -lE '^#include "fault.h"' "$dir"/src/pg/*.c | sed 's/c$/o/') "$dir/kpxrec.so" || return 1
	private_server fault_server
	make -s -C "$dir" -j"$(nproc)" PG_CONFIG="$PG_CONFIG" PG_CPPFLAGS_FAULTS=-DKPX_FAULTS >&2 &&
		make -s -C "$dir" PG_CONFIG="$PG_CONFIG" install >/dev/null && rm -rf "$dir" && echo "$BINDIR"
}

no_fault_points() {
	! nm "$("$PG_CONFIG" --pkglibdir)/kpxrec.so" | grep kpx_fault
}

# Tests with clusters of their own run as an unprivileged user, from a copy it can read.
perl_tests() {
	local pgxs bin fault_bin= points dir=$RUN_DIR/perl
	points=$(sed -nE 's/.*KPX_FAULT\("([^"]+)"\).*/\1/p' src/pg/*.c | sort -u)
	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/..
	[ -f "$pgxs/test/perl/PostgreSQL/Test/Cluster.pm" ] ||
		{ echo "skipped Perl TAP: this server was installed without $pgxs/test/perl"; return; }
	mkdir "$dir" && cp -r test/t "$dir/" && mkdir "$dir/docs" && cp -r docs/dashboards "$dir/docs/" || return 1
	command -v chromium >/dev/null || echo "skipped 030_report.pl: no chromium"
	# 040_update.pl puts scripts of further versions beside ours
	[ "$(id -u)" != 0 ] || chown -R "$SERVER_USER" "$dir" "$("$PG_CONFIG" --sharedir)/extension"
	step "no fault points in what is installed" no_fault_points
	for file in "$dir"/t/*.pl; do
		bin=$BINDIR
		if [[ $file == *_faults.pl ]] && wanted <<<"$(basename "$file")"; then
			[ -n "$fault_bin" ] || fault_bin=$(fault_server) || { failed=$((failed + 1)); continue; }
			bin=$fault_bin
		fi
		step "$(basename "$file")" as_server_user env "PATH=$bin:$PATH" KPX_FAULT_POINTS="$points" TESTDATADIR="$dir" TESTLOGDIR="$dir" \
			PG_REGRESS="$pgxs/test/regress/pg_regress" PERL5LIB="$pgxs/test/perl" \
			sh -c 'cd "$1" && prove -Q "$2"' sh "$dir" "$file"
	done
}

check() {
	[ -z "${OLD_PG_CONFIG:-}" ] || build_older
	build_and_install WERROR=-Werror
	step "clang without warnings" clang_is_clean
	CORE_DIR=$RUN_DIR/core
	mkdir "$CORE_DIR"
	for file in test/core/*_test.c; do
		step "core $(basename "$file" _test.c)" core_test "$file"
	done
	for target in $(fuzz_targets); do
		step "fuzz corpus $target" fuzz_corpus "$target"
	done
	rm -rf "$CORE_DIR"
	step "make's own scripts" test/scripts_test.sh
	server_tests "not preloaded" ""
	documentation
	server_tests "preloaded" "kpxrec"
	perl_tests
}

# ---------------------------------------------------------------- lint

format_is_right() {
	clang-format --dry-run --Werror src/core/*.[ch] src/pg/*.[ch] test/core/*.[ch] test/fuzz/*.[ch]
}

# cppcheck cannot know that ereport(ERROR) does not return.
cppcheck_is_silent() {
	cppcheck --quiet -DERROR=21 '-Dereport(level,...)=do { if ((level) >= 21) abort(); } while (0)' \
		--enable=warning,portability --error-exitcode=1 --inline-suppr --suppress=unknownMacro \
		--suppress=missingInclude --suppress=syntaxError --suppress=nullPointerOutOfMemory -D__cppcheck__ -Isrc src/core src/pg
}

house_is_in_order() {
	local odd
	odd=$(git ls-files 2>/dev/null | cut -d/ -f1 | sort -u | grep -vxE 'Makefile|README\.md|LICENSE|kpxrec\.control|sql|src|test|expected|docs|\..*')
	[ -z "$odd" ] || { echo "unexpected at the top level: $odd"; return 1; }
	! grep -nE '#include "(postgres|fmgr|utils/)' src/core/*.[ch] || { echo "src/core must not include PostgreSQL"; return 1; }
	! grep -nE '\b(sprintf|strcpy|strcat|malloc)\(' src/core/*.c src/pg/*.c || return 1
	# objects that wait to be taken in, and schema names inside quotes (CVE-2022-2625, CVE-2023-39417)
	! grep -niE "^[^-]*(OR REPLACE|IF NOT EXISTS|'[^']*@extschema@)" sql/[0-9]*.sql || { echo "not in the script of an extension"; return 1; }
	! grep -niE "^[^-]*(IF NOT EXISTS|'[^']*@extschema@)" sql/kpxrec--*--*.sql || { echo "not in the script of an update"; return 1; }
}

# ---------------------------------------------------------------- main

run_directory
ensure_packages
case $task in
	check)
		check
		;;
	check-long)
		check_long
		;;
	coverage)
		coverage
		;;
	fuzz)
		fuzz
		;;
	lint)
		step "format" format_is_right
		step "cppcheck" cppcheck_is_silent
		step "house" house_is_in_order
		;;
	demo)
		build_and_install
		. test/demo/demo.sh
		exit $?
		;;
	bench)
		build_and_install
		SHARED_BUFFERS=1GB
		. test/bench/bench.sh
		exit $?
		;;
	*)
		stop "usage: $0 demo|check|check-long|fuzz|coverage|bench|lint"
		;;
esac
[ $((passed + failed)) -gt 0 ] || echo "no step's name matches ONLY=$ONLY"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
