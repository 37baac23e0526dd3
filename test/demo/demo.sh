# demo.sh: the main job from nothing. Sourced by test/run.sh.
started=$(date +%s)
cluster_start || exit 1
psql -qX -c 'CREATE DATABASE demo' || exit 1
export PGDATABASE=demo
PSQL="psql -qX -v ON_ERROR_STOP=1 -P pager=off -P footer=off"
# the demo's own text, not the void results of registering
$PSQL -c 'CREATE EXTENSION kpxrec' || exit 1

own_data() {
	local columns
	columns=$(head -1 "$DATA" | tr -d '\r\"')
	case ",$columns," in
		,module,user_id,item_id,*) ;;
		*) echo "$DATA: the header must be module,user_id,item_id[,weight[,occurred_at]], found: $columns"; return 1 ;;
	esac
	$PSQL <<-EOF || return 1
		CREATE SCHEMA own;
		CREATE TABLE own.events (module text NOT NULL, user_id text, item_id text, weight float8 DEFAULT 1, occurred_at timestamptz);
	EOF
	$PSQL -c "\\copy own.events($columns) FROM '$DATA' CSV HEADER" || return 1
	$PSQL -f test/demo/own_data.sql
}

if [ -n "${DATA:-}" ]; then
	own_data || exit 1
else
	for file in 01_platform 02_register 03_train 04_evaluate 05_show; do
		case $file in
			02_register) $PSQL -o /dev/null -f test/demo/$file.sql || exit 1 ;;
			*) $PSQL -f test/demo/$file.sql || exit 1 ;;
		esac
	done
fi
echo "All in $(($(date +%s) - started)) seconds."
if [ -n "${KEEP:-}" ]; then
	trap - EXIT INT TERM HUP
	echo "The server is up:  psql -h $CLUSTER_DIR -U postgres demo"
	echo "Stop it:           $( [ "$(id -u)" = 0 ] && echo "runuser -u $SERVER_USER -- ")$BINDIR/pg_ctl -D $CLUSTER_DIR/data stop && rm -rf $CLUSTER_DIR"
else
	cluster_stop
fi
