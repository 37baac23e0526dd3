# serve.sh: answers from a catalogue of 100,000 or a million items with planted tastes. SERVE="100k 1000k" make bench.
# Sourced by bench.sh. All items are kept (kpxrec.min_users = 1); 64 factors. Users are the same 2,000, so that their events are in memory.

# Answers per second of so many clients.
throughput() {
	( cd "$CLUSTER_DIR" && pgbench -n -M prepared -c "$1" -j "$1" -T 8 -f answers.sql postgres 2>/dev/null ) | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

# Megabytes of dynamic shared memory that all sessions of four that have answered share between them: each page once.
shared_memory() {
	local pids pid
	for session in 1 2 3 4; do
		psql -qXAt -c "SELECT count(*) FROM kpx_recommend(7, '$1')" -c "SELECT pg_sleep(6)" >/dev/null &
	done
	sleep 4
	pids=$($PSQL -c "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6)%' AND pid <> pg_backend_pid()")
	for pid in $pids; do
		awk '/^[0-9a-f]+-/ { ours = /PostgreSQL/ } ours && /^Pss:/ { sum += $2 } ours && /^Rss:/ { rss += $2 } END { print sum / 1024, rss / 1024 }' "/proc/$pid/smaps"
	done | awk '{ pss += $1; rss += $2 } END { printf "%.0f MB | four sessions have %.0f MB of it mapped and touched", pss, rss }'
	wait
}

searching() {
	gcc -std=gnu11 -O3 -fno-math-errno -fno-trapping-math -Isrc -I"$BLAS_INCLUDE" -o "$CLUSTER_DIR/search" \
		test/bench/search.c src/core/*.c "$BLAS_LIBRARY" -lm && "$CLUSTER_DIR/search" 1000000 64
}

serve() {
	local users items events name=$1 one two bytes cold params
	case $1 in
		100k) users=200000 items=100000 events=5000000 params='"unobserved_weight": 0.004' ;;
		1000k) users=400000 items=1000000 events=20000000 params='"unobserved_weight": 0.0005, "regularization": 0.01' ;;
		*) echo "unknown size $1"; return 1 ;;
	esac
	$PSQL -c "ALTER SYSTEM SET kpxrec.shared_cache_size = '1GB'" -c "ALTER SYSTEM SET kpxrec.cache_size = '1GB'" -c "SELECT pg_reload_conf()" >/dev/null
	$PSQL -v name="$name" -v users=$users -v items=$items -v events=$events -v taste=0.75 -f test/bench/generate.sql >/dev/null || return 1
	$PSQL -c "SET kpxrec.min_users = 1; SET max_parallel_maintenance_workers = 1; SET maintenance_work_mem = '4GB';
		SELECT FROM kpx_train('$name', params => '{\"iterations\": 6, $params}')" >/dev/null || return 1
	row "$name: share of the first 8, 16, 32 factors of 64" "$($PSQL -F ' ' -c "SELECT round(100 * sum(e) FILTER (WHERE f <= 8) / sum(e)), round(100 * sum(e) FILTER (WHERE f <= 16) / sum(e)), round(100 * sum(e) FILTER (WHERE f <= 32) / sum(e))
		FROM (SELECT f, sum(x::float8 ^ 2) AS e FROM kpx_item_factors('$name', item_type => NULL::int) i, unnest(i.factors) WITH ORDINALITY u(x, f) WHERE i.item_id % 50 = 0 GROUP BY f) s") %" \
		"of the squared lengths of all items; $users users, $events events"
	answers "$name" 2000 $items || return 1
	one=$(throughput 1)
	two=$(throughput 2)
	row "$name: kpx_recommend, 2 clients" "$(awk "BEGIN { printf \"%.2f times 1\", $two / $one }")" "$(awk "BEGIN { printf \"%.0f and %.0f answers/s; the clients run on the same cores\", $two, $one }")"
	$PSQL -c "CREATE INDEX ON bench.\"$name\" (user_id, at DESC NULLS LAST) INCLUDE (item_id)" -c "VACUUM ANALYZE bench.\"$name\""
	batch "$name" $items ", index that covers"
	bytes=$($PSQL -c "SELECT sum(octet_length(data)) FROM kpx.model_block b JOIN kpx.model m ON m.id = b.model_id WHERE m.name = '$name'")
	printf '| %-58s | %s |\n' "$name: shared memory of the model, four sessions" "$(shared_memory "$name")"
	$PSQL -c "ALTER SYSTEM SET kpxrec.shared_cache_size = 0" -c "SELECT pg_reload_conf()" >/dev/null
	sleep 1
	cold=$(for run in $(seq 5); do seconds "SELECT * FROM kpx_recommend(5, '$name');"; done | median)
	row "$name: reading a model from its tables" "$(awk "BEGIN { printf \"%.2f GB/s\", $bytes / $cold / 1e9 }")" "$(awk "BEGIN { printf \"%.0f MB in %.2f s, until the first answer\", $bytes / 1e6, $cold }")"
}
