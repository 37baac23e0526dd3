# rules.sh: mining itemsets and rules. Sourced by bench.sh; needs its row() and a running cluster.

# Peak resident memory of the session's backend so far, in kB.
HWM="substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+)')::bigint"

# mining_sql NAME FILE MIN_SUPPORT MIN_CONFIDENCE MAX_LENGTH: through kpx_mine_rules, from a table.
mining_sql() {
	$PSQL -c "CREATE SCHEMA IF NOT EXISTS bench" -c "CREATE TABLE bench.\"$1\" (basket int, item int)" || return 1
	awk '{ for (i = 1; i <= NF; i++) print NR "\t" $i }' "$2" | $PSQL -c "COPY bench.\"$1\" FROM STDIN" || return 1
	$PSQL -o /dev/null -c "CREATE TABLE bench.\"$1_items\" AS SELECT DISTINCT item FROM bench.\"$1\"" -c "CREATE INDEX ON bench.\"$1\" (basket)" \
		-c "VACUUM ANALYZE bench.\"$1\"" -c "SELECT kpx_add_module('$1', 'bench.$1_items', 'item'), kpx_add_events('$1', 'bench.$1', 'purchase', 'basket', 'item')" || return 1
	for run in $(seq "$RUNS"); do
		$PSQL -F ' ' <<-EOF
			SELECT $HWM AS before \\gset
			SELECT seconds, itemsets, rules, ($HWM - :before) / 1024 FROM kpx_mine_rules('$1', $3, $4, $5);
		EOF
	done | sort -g | awk '{ l[NR] = $0 } END { print l[int((NR + 1) / 2)] }' | while read -r seconds itemsets rules memory; do
		row "$1: kpx_mine_rules, from table to stored rules" "$seconds s" "$itemsets itemsets, $rules rules; the backend's peak memory rose by $memory MB"
	done
}

# mining_core NAME SET MIN_SUPPORT MAX_LENGTH: the search alone, beside others.
mining_core() {
	"$CLUSTER_DIR/rules" "$2" "$3" "$4" | while read -r method seconds _ memory _ itemsets _; do
		row "$1: $method" "$seconds s" "at least $3 baskets: $itemsets itemsets, peak $memory MB"
	done
}

mining() {
	local data=../shared/data/groceries.csv.gz
	gcc -std=gnu11 -O3 -fno-math-errno -fno-trapping-math -Isrc -o "$CLUSTER_DIR/rules" test/bench/rules.c src/core/itemset*.c -lm || return 1
	"$CLUSTER_DIR/rules" quest 1 write >"$CLUSTER_DIR/quest"
	if [ -f "$data" ]; then
		gzip -dc "$data" | awk -F, 'NR > 1 { if (!($2 in n)) n[$2] = k++; if ($1 != b && NR > 2) print ""; b = $1; printf "%d ", n[$2] } END { print "" }' >"$CLUSTER_DIR/groceries"
		mining_core groceries "$CLUSTER_DIR/groceries" 10 10
		mining_sql groceries "$CLUSTER_DIR/groceries" 10 0.8 10
	else
		echo "skipped groceries: $data is not there"
	fi
	mining_core "quest, 100,000 baskets of 11 items" quest 100 64
	mining_sql quest "$CLUSTER_DIR/quest" 0.001 0.5 64
	mining_sql many "$CLUSTER_DIR/quest" 20 0.1 64
	row "many: count(*) and every measure of all kpx_rules" "$(for run in $(seq "$RUNS"); do seconds "SELECT count(*), sum(lift), sum(leverage) FROM kpx_rules WHERE consequent_module = 'many';"; done | median) s" "through the view"
	mining_core "dense, 3,196 baskets of 37 items" dense 1700 64
}
