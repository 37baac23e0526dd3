#!/bin/bash
# run.sh demo|check|bench|lint: installs what is missing, builds, installs, and runs it on a
# throw-away server. Called by make; environment: PG_CONFIG, KEEP, DATA, ONLY.
set -u
cd "$(dirname "$0")/.." || exit 1
. test/cluster.sh
task=$1
PG_CONFIG=${PG_CONFIG:-pg_config}
passed=0
failed=0

# ---------------------------------------------------------------- packages

# The newest server version the distribution has, unless PG_CONFIG names one.
server_version() {
	if [ "$PG_CONFIG" != pg_config ] || command -v pg_config >/dev/null; then
		"$PG_CONFIG" --version 2>/dev/null | sed 's/^PostgreSQL \([0-9]*\).*/\1/' && return
	fi
	apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -1
}

missing_packages() {
	local version=$1 multiarch need=
	multiarch=$(gcc -print-multiarch 2>/dev/null)
	[ -x "/usr/lib/postgresql/$version/bin/initdb" ] || [ "$PG_CONFIG" != pg_config ] || need="$need postgresql-$version"
	[ -f "/usr/include/postgresql/$version/server/postgres.h" ] || [ "$PG_CONFIG" != pg_config ] ||
		need="$need postgresql-server-dev-$version"
	[ -f "/usr/lib/$multiarch/openblas-serial/libopenblas.a" ] || need="$need libopenblas-serial-dev"
	if [ "$task" = check ]; then
		[ -f "/usr/share/postgresql/$version/extension/pgtap.control" ] || [ "$PG_CONFIG" != pg_config ] ||
			need="$need postgresql-$version-pgtap"
		command -v pg_prove >/dev/null || need="$need libtap-parser-sourcehandler-pgtap-perl"
		perl -MIPC::Run -e1 2>/dev/null || need="$need libipc-run-perl"
		command -v clang >/dev/null || need="$need clang"
	fi
	if [ "$task" = lint ]; then
		command -v clang-format >/dev/null || need="$need clang-format"
		command -v cppcheck >/dev/null || need="$need cppcheck"
	fi
	echo "$need"
}

# Debian makes and starts a cluster when a server is installed; we neither need nor want one.
install_packages() {
	local sudo=
	if [ "$(id -u)" != 0 ]; then
		if sudo -n true 2>/dev/null; then
			sudo="sudo -n"
		else
			echo "kpxrec needs packages. As root, run:  apt-get install$1"
			exit 1
		fi
	fi
	echo "installing:$1"
	if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
		$sudo mkdir -p /etc/postgresql-common
		echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
	fi
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Options::=--force-confold install $1 >/tmp/kpxrec-apt.$$ 2>&1 ||
		{ $sudo apt-get -q update >/dev/null 2>&1
		  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Options::=--force-confold install $1 >/tmp/kpxrec-apt.$$ 2>&1; } ||
		{ tail -20 /tmp/kpxrec-apt.$$; echo "could not install the packages; as root, run:  apt-get install$1"; exit 1; }
	rm -f /tmp/kpxrec-apt.$$
}

ensure_packages() {
	local version need
	version=$(server_version)
	if [ -z "$version" ] && [ "$(id -u)" = 0 ]; then
		apt-get -q update >/dev/null 2>&1
		version=$(server_version)
	fi
	version=${version:-15}
	need=$(missing_packages "$version")
	[ -z "$need" ] || install_packages "$need"
	if [ "$PG_CONFIG" = pg_config ] && [ -x "/usr/lib/postgresql/$version/bin/pg_config" ]; then
		PG_CONFIG=/usr/lib/postgresql/$version/bin/pg_config
	fi
	export PG_CONFIG
}

# ---------------------------------------------------------------- building

build_and_install() {
	local sudo=
	make -s PG_CONFIG="$PG_CONFIG" "$@" || exit 1
	[ -w "$("$PG_CONFIG" --pkglibdir)" ] || sudo=sudo
	$sudo make -s PG_CONFIG="$PG_CONFIG" install >/dev/null || exit 1
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

# ---------------------------------------------------------------- check

openblas() {
	local multiarch
	multiarch=$(gcc -print-multiarch 2>/dev/null)
	BLAS_INCLUDE=${OPENBLAS_INCLUDE:-/usr/include/$multiarch/openblas-serial}
	BLAS_LIBRARY=${OPENBLAS_DIR:-/usr/lib/$multiarch/openblas-serial}/libopenblas.a
}

clang_is_clean() {
	openblas
	local server
	server=$("$PG_CONFIG" --includedir-server)
	for file in src/core/*.c src/pg/*.c; do
		clang -std=gnu11 -fsyntax-only -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
			-Wno-missing-field-initializers -D_GNU_SOURCE -Isrc -I"$BLAS_INCLUDE" -isystem "$server" "$file" || return 1
	done
}

# src/core is compiled once under the sanitizers, for all of its tests.
core_library() {
	openblas
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

regress() {
	local pgxs version expected=
	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	version=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	[ "$version" -ge 16 ] && expected=--expecteddir=.
	"$pgxs/src/test/regress/pg_regress" --bindir="$("$PG_CONFIG" --bindir)" --inputdir=test --outputdir=. $expected \
		--dbname="regress_$1" $(cd test/sql && ls -- *.sql | sed 's/\.sql$//') >"$CLUSTER_DIR/regress.out" 2>&1 ||
		{ cat "$CLUSTER_DIR/regress.out" regression.diffs; return 1; }
	rm -rf results regression.out regression.diffs
}

pgtap_file() {
	local database
	database=tap_$(basename "$1" .sql)
	createdb "$database" && psql -q -d "$database" -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION kpxrec' &&
		pg_prove -d "$database" -q --ext .sql "$1" >"$CLUSTER_DIR/tap.out" 2>&1 || { cat "$CLUSTER_DIR/tap.out"; return 1; }
	dropdb "$database"
}

# SQL tests on one server, preloaded or not.
server_tests() {
	local how=$1
	cluster_start "$2" || { failed=$((failed + 1)); return; }
	DATA_DIR=$PWD/../shared/data
	export DATA_DIR
	step "pg_regress ($how)" regress "${how// /_}"
	for file in test/pgtap/*.sql; do
		step "pgtap $(basename "$file" .sql) ($how)" pgtap_file "$file"
	done
	step "no crash in the server's log ($how)" no_crash
	cluster_stop
}

# The examples of the documentation print what is written.
documentation() {
	cluster_start "" || { failed=$((failed + 1)); return; }
	for file in $(grep -l '^```sql$' README.md docs/*.md); do
		step "$file" test/docs/run.sh "$file"
	done
	cluster_stop
}

no_crash() {
	! grep -E "terminated by signal|TRAP:|PANIC|XX000" "$CLUSTER_DIR/log"
}

# Tests with clusters of their own run as an unprivileged user, from a copy it can read.
perl_tests() {
	local pgxs dir
	[ -e test/t ] && ls test/t/*.pl >/dev/null 2>&1 || { echo "skipped Perl TAP: none"; return; }
	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	dir=$(mktemp -d /tmp/kpxrec.t.XXXXXX)
	cp -r test/t "$dir/"
	chmod 755 "$dir"
	SERVER_USER=postgres
	[ "$(id -u)" = 0 ] && chown -R "$SERVER_USER" "$dir"
	for file in "$dir"/t/*.pl; do
		step "$(basename "$file")" as_server_user env "PATH=$("$PG_CONFIG" --bindir):$PATH" TESTDATADIR="$dir" TESTLOGDIR="$dir" \
			PG_REGRESS="$pgxs/src/test/regress/pg_regress" PERL5LIB="$pgxs/src/test/perl" \
			sh -c "cd '$dir' && prove -q '$file'"
	done
	rm -rf "$dir"
}

check() {
	build_and_install WERROR=-Werror
	step "clang without warnings" clang_is_clean
	CORE_DIR=$(mktemp -d)
	for file in test/core/*_test.c; do
		step "core $(basename "$file" _test.c)" core_test "$file"
	done
	rm -rf "$CORE_DIR"
	server_tests "not preloaded" ""
	documentation
	server_tests "preloaded" "kpxrec"
	perl_tests
}

# ---------------------------------------------------------------- lint

format_is_right() {
	clang-format --dry-run --Werror src/core/*.[ch] src/pg/*.[ch] test/core/*.[ch]
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
	! grep -nE '\b(sprintf|strcpy|strcat|malloc)\(' src/core/*.c src/pg/*.c
}

# ---------------------------------------------------------------- main

ensure_packages
case $task in
	check)
		check
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
		echo "usage: $0 demo|check|bench|lint"
		exit 2
		;;
esac
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
