# scale.sh: large trainings in a memory budget that is stated before. Sourced by bench.sh when SCALE is set
# (SCALE="50m 100m" make bench; 100m needs some 12 GB of disk and 6 GB of memory).

# One session: what is said beforehand, the training, and what the backend took of memory of its own (in kB,
# VmHWM less the shared pages, as Linux counts them).
scaled_training() {
	$PSQL -F ' ' -c "SET maintenance_work_mem = '$3'; SET max_parallel_maintenance_workers = 1; SET client_min_messages = warning" \
		-c "SELECT memory_bytes / 1e6 FROM kpx_train_estimate('{$1}', 'ials', '$2', exact => false)" \
		-c "SELECT users, items, interactions, read_seconds, train_seconds, store_seconds FROM kpx_train('{$1}'::text[], 'ials', '$2')" \
		-c "SELECT bytes / 1e6 FROM kpx_models WHERE '$1' = ANY (modules)" \
		-c "SELECT sum(((regexp_match(s, name || ':\s+(\d+)'))[1])::bigint * sign) FROM pg_read_file('/proc/self/status') s,
			(VALUES ('VmHWM', 1), ('RssShmem', -1), ('RssFile', -1)) v (name, sign)"
}

scale() {
	local name=$1 users items events budget floor iterations=3
	case $name in
		5m) users=200000 items=100000 events=5000000 budget=1GB ;;
		50m) users=1000000 items=200000 events=50000000 budget=4GB ;;
		100m) users=2000000 items=500000 events=100000000 budget=8GB ;;
		*) echo "unknown scale $name"; return 1 ;;
	esac
	$PSQL -v name="$name" -v users=$users -v items=$items -v events=$events -f test/bench/generate.sql >/dev/null || return 1
	floor=$(seconds "SET max_parallel_workers_per_gather = 0; EXPLAIN (ANALYZE, TIMING OFF) SELECT user_id, item_id FROM bench.\"$name\";")
	scaled_training "$name" "{\"factors\": 64, \"iterations\": $iterations}" $budget | tr '\n' ' ' >"$CLUSTER_DIR/scaled" || return 1
	read -r estimated users items pairs read train store model peak <"$CLUSTER_DIR/scaled"
	row "$name: budget, expected, taken" "$budget" "$(awk "BEGIN { printf \"%.0f MB said beforehand by kpx_train_estimate, %.0f MB taken of its own by the process\", $estimated, $peak / 1e3 }")"
	row "$name: distinct user-item pairs" "$pairs" "$events events, $users users, $items items"
	row "$name: reading and indexing events" "$(awk "BEGIN { printf \"%.2f M rows/s\", $events / $read / 1e6 }")" \
		"$(awk "BEGIN { printf \"%.1f s; the executor alone needs %.1f s to hand them out\", $read, $floor }")"
	row "$name: training, $iterations iterations, 64 factors" "$train s" "1 process + 1 worker, $(awk "BEGIN { printf \"%.1f s an iteration\", $train / $iterations }")"
	row "$name: storing" "$store s" "model of $(awk "BEGIN { printf \"%.0f MB\", $model }")"
	$PSQL -c "DROP TABLE bench.\"$name\", bench.\"${name}_items\" CASCADE" -c "SELECT kpx_drop_module('$name')" >/dev/null
}
