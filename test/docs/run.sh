#!/bin/bash
# run.sh FILE.md: runs the examples of a document in a database of their own.
#
# Every ```sql block is run, in order, in one session; a ```text block right behind it is
# what psql prints, to the letter. <!-- file --> before the first block names a file of
# test/docs that is run first. Needs PGHOST and so on; exit status 0 when all is as written.
set -u
document=$1
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
database=docs_$(basename "$document" .md | tr 'A-Z' 'a-z')

awk -v dir="$work" '
	/^```sql$/ { n++; in_sql = 1; file = sprintf("%s/%03d.sql", dir, n); next }
	/^```text$/ && behind { in_text = 1; file = sprintf("%s/%03d.text", dir, n); next }
	/^```/ { if (in_sql) behind = 1; else behind = 0; if (in_sql || in_text) close(file); in_sql = in_text = 0; next }
	in_sql || in_text { print > file; next }
	/[^ \t]/ { behind = 0 }
' "$document"
ls "$work"/*.sql >/dev/null 2>&1 || { echo "$document has no examples"; exit 0; }

psql -qX -d postgres -c "CREATE DATABASE $database" || exit 1
setup=$(sed -n 's/^<!-- setup: \([a-z.]*\) -->$/\1/p' "$document" | head -1)
[ -z "$setup" ] || psql -qX -v ON_ERROR_STOP=1 -d "$database" -f "$here/$setup" || exit 1
for file in "$work"/*.sql; do
	printf '\\echo ---- %s\n' "$(basename "$file" .sql)"
	cat "$file"
	echo
done >"$work/all"
psql -qX -P pager=off -P null= -d "$database" <"$work/all" >"$work/out" 2>&1
psql -qX -d postgres -c "DROP DATABASE $database"

awk -v dir="$work" '/^---- [0-9][0-9][0-9]$/ { file = dir "/" $2 ".out"; printf "" > file; next } { print > file }' "$work/out"
failed=0
for file in "$work"/*.sql; do
	base=${file%.sql}
	if [ -f "$base.text" ]; then
		# psql ends a table with an empty line; the document need not
		diff <(sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' "$base.text") <(sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' "$base.out") >"$work/diff" && continue
		echo "$document: the output of this example is not what is written:"
		cat "$file" "$work/diff"
		failed=1
	elif grep -q '^ERROR' "$base.out"; then
		echo "$document: this example fails:"
		cat "$file" "$base.out"
		failed=1
	fi
done
exit $failed
