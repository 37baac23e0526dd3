#!/bin/bash
# scripts_test.sh: tests of packages.sh, cluster.sh and own_data.sh, on the server PG_CONFIG names.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# is NAME EXPECTED ACTUAL: the pattern matches
is() {
	case $3 in
		$2) ;;
		*) echo "$1: expected $2, found $3"; failed=1 ;;
	esac
}

# sh_with 'variables' 'commands': in a shell of its own, with the scripts sourced
sh_with() {
	env $1 bash -uc 'stop() { echo "$1"; exit 1; }; task=check; BLAS_LIBRARY=/ BLAS_INCLUDE=/
		. test/packages.sh; . test/cluster.sh; . test/demo/own_data.sh; '"$2" 2>&1
}

# ---------------------------------------------------------------- packages

# fake VERSION: a pg_config of a server that is not the distribution's
fake() {
	mkdir -p "$work/$1/bin" "$work/$1/server" "$work/$1/extension"
	touch "$work/$1/bin/initdb" "$work/$1/server/postgres.h"
	cat >"$work/$1/bin/pg_config" <<-EOF
		#!/bin/sh
		case \$1 in --version) echo "PostgreSQL $1" ;; --bindir) echo "$work/$1/bin" ;; --sharedir) echo "$work/$1" ;; *) echo "$work/$1/server" ;; esac
	EOF
	chmod +x "$work/$1/bin/"*
}
fake 14.3
fake 18beta1
fake 17.1
choose='choose_server; missing_packages; echo "$VERSION:$NEED"'
is "no such program" "PG_CONFIG=/nonsense is not a pg_config that runs" "$(sh_with PG_CONFIG=/nonsense "$choose")"
is "another program" "*is not a pg_config that runs" "$(sh_with "PG_CONFIG=$(type -P true)" "$choose")"
is "too old" "kpxrec needs PostgreSQL 15 or later, this is 14.*" "$(sh_with "PG_CONFIG=$work/14.3/bin/pg_config" "$choose")"
is "no pgTAP, not the distribution's" "the server of PG_CONFIG=* lacks */extension/pgtap.control*postgresql-17-pgtap*" \
	"$(sh_with "PG_CONFIG=$work/17.1/bin/pg_config" "$choose")"
rm "$work/18beta1/server/postgres.h"
is "no headers, not the distribution's" "*lacks */server/postgres.h*postgresql-server-dev-18*" \
	"$(sh_with "PG_CONFIG=$work/18beta1/bin/pg_config" "$choose")"
is "the distribution's, not installed" "99: postgresql-99 postgresql-server-dev-99*postgresql-99-pgtap*" \
	"$(sh_with PG_CONFIG=/usr/lib/postgresql/99/bin/pg_config "$choose")"
is "the one in PATH when it is complete" "17" \
	"$(sh_with "PG_CONFIG=pg_config PATH=$work/17.1/bin:$PATH" 'choose_server; echo "$VERSION"')"
is "lint needs no server" ":*" "$(sh_with PG_CONFIG=/nonsense 'task=lint; ensure_packages() { :; }; missing_packages; echo ":$NEED"')"
is "fuzz neither" ":" "$(sh_with PG_CONFIG=/nonsense 'task=fuzz; missing_packages() { NEED= WANT=; }; ensure_packages; echo ":${VERSION:-}"')"

# ---------------------------------------------------------------- directories and servers

long=$work/$(printf 'long%.0s' {1..20})
mkdir "$long" "$work/a b"
[ "$(id -u)" != 0 ] || chmod 755 "$work"
is "a name too long for a socket" "/tmp/kpxrec.*" "$(sh_with "TMPDIR=$long" 'run_directory; echo $RUN_DIR')"
is "a directory that is not there" "*/kpxrec.*" "$(sh_with "TMPDIR=$work/none" 'run_directory; echo $RUN_DIR')"
is "gone afterwards" "" "$(ls "$long")"

# Ctrl-C, and a failure, in the middle: neither server nor directory is left.
for how in INT TERM failure; do
	perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' env TMPDIR="$work/a b" how=$how bash -uc '. test/cluster.sh
		run_directory; private_server; cluster_start || exit 1
		head -1 "$CLUSTER_DIR/data/postmaster.pid" >"$0.pid"; mv "$0.pid" "$0"
		[ $how != failure ] || exit 3
		while :; do sleep 0.1; done' "$work/server.$how" >"$work/out" 2>&1 &
	script=$!
	for i in {1..600}; do
		[ ! -e "$work/server.$how" ] && kill -0 $script 2>/dev/null || break
		sleep 0.1
	done
	[ -e "$work/server.$how" ] || { cat "$work/out"; failed=1; }
	[ $how = failure ] || kill -$how $script
	wait $script
	status=$?
	is "exit status" "$(case $how in INT) echo INT 130 ;; TERM) echo TERM 143 ;; *) echo failure 3 ;; esac)" "$how $status"
	is "no directory after $how" "" "$(ls "$work/a b")"
	for i in {1..50}; do
		grep -qa postgres "/proc/$(cat "$work/server.$how")/cmdline" 2>/dev/null || break
		sleep 0.1
	done
	is "server after $how" "gone in time" "$([ $i -lt 50 ] && echo gone in time)"
done

# ---------------------------------------------------------------- own data

# columns FIRST-LINE: what it is taken as
columns() {
	printf "$1\n" >"$work/file.csv"
	sh_with "DATA=$work/file.csv" 'HEADER=false; own_columns >"$DATA.out" || exit; echo "$FILE_COLUMNS $HEADER"'
	grep "must be" "$work/file.csv.out"
}
is "names" "module,user_id,item_id,weight,occurred_at true" "$(columns 'module,user_id,item_id,weight,occurred_at')"
is "names in another order, quoted, DOS, with a mark" "item_id,user_id,module true" "$(columns '\xef\xbb\xbf"item_id", "user_id","module"\r')"
is "no names" "module,user_id,item_id false" "$(columns 'shop,1,2')"
is "four columns" "module,user_id,item_id,weight false" "$(columns 'shop,1,2,0.5')"
for line in 'shop,1' 'a,b,c,d,e,f' 'module,user_id,thing' 'module,user_id,item_id,price' ''; do
	is "refused: $line" "*the columns must be module,user_id,item_id*" "$(columns "$line")"
done
exit $failed
