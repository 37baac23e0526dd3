# demo.sh: the main job from nothing. Sourced by test/run.sh.
. test/demo/own_data.sh
. test/demo/simulate.sh
started=$(date +%s)
[ -z "${DATA:-}" ] || [ -r "$DATA" ] || stop "DATA=$DATA: no such file, or not readable"
cluster_start || exit 1
psql -qX -c 'CREATE DATABASE demo' || exit 1
export PGDATABASE=demo
PSQL="psql -qX -v ON_ERROR_STOP=1 -P pager=off -P footer=off"
# the demo's own text, not the void results of registering
$PSQL -c 'CREATE EXTENSION kpxrec' || exit 1

if [ -n "${DATA:-}" ]; then
	own_data || exit 1
else
	for file in 01_platform 02_register 03_train 04_evaluate 05_show 06_tune 06_rules 07_groups 08_order 09_policy 95_hybrid; do
		case $file in
			02_register) $PSQL -o /dev/null -f test/demo/$file.sql || exit 1 ;;
			*) $PSQL -f test/demo/$file.sql || exit 1 ;;
		esac
	done
	for way in popular cross start loop; do
		simulate 1 $way 250 5 || exit 1
	done
	simulated sim_loop && $PSQL -d sim_loop -f test/demo/10_loop.sql || exit 1
fi
# what is left behind: a page for a browser, in two languages
REPORTS=$(mktemp -d "$(dirname "$RUN_DIR")/kpxrec-report.XXXXXX") || exit 1
for language in en zh; do
	$PSQL -At -c "SELECT kpx_report(language => '$language')" >"$REPORTS/$language.html" || exit 1
done
echo "The same and more as a page: $REPORTS/en.html (and zh.html)"
echo "All in $(($(date +%s) - started)) seconds."
if [ -n "${KEEP:-}" ]; then
	trap - EXIT INT TERM HUP
	run_as=$([ "$(id -u)" != 0 ] || echo "runuser -u $SERVER_USER -- ")
	echo "The server is up:  $BINDIR/psql -h '$CLUSTER_DIR' -U postgres demo"
	echo "Stop it:           $run_as'$BINDIR/pg_ctl' -D '$CLUSTER_DIR/data' stop && rm -rf '$RUN_DIR'"
fi
