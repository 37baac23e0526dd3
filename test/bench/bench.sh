# bench.sh: what it costs, on this machine, beside the limits measured in the same run.
# Sourced by test/run.sh. SIMULATE=10 simulates so many platforms instead, SERVE="100k 1000k" serves catalogues of so many items. SIZES="1m 5m" by default, none when it is set and empty; RUNS=3 runs of everything, medians.
SIZES=${SIZES-1m 5m}
RUNS=${RUNS:-3}
PSQL="psql -qXAt -v ON_ERROR_STOP=1"

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# percentile P: of the numbers on standard input
percentile() { sort -g | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.5); print v[i < 1 ? 1 : i] }'; }

row() { printf '| %-58s | %14s | %s |\n' "$1" "$2" "$3"; }

limits() {
	gcc -O3 -march=native -o "$CLUSTER_DIR/peak" test/bench/peak.c -I"$BLAS_INCLUDE" "$BLAS_LIBRARY" -lm &&
		gcc -std=gnu11 -O3 -fno-math-errno -fno-trapping-math -Isrc -I"$BLAS_INCLUDE" -o "$CLUSTER_DIR/kernel" \
			test/bench/kernel.c src/core/*.c "$BLAS_LIBRARY" -lm || return 1
	read -r PEAK BANDWIDTH <<-EOF
		$("$CLUSTER_DIR/peak")
	EOF
	row "limit: sgemm on one core" "$PEAK GFLOP/s" "OpenBLAS, 1536 x 1536"
	row "limit: reading memory on one core" "$BANDWIDTH GB/s" "256 MB"
}

# seconds of a psql statement by its own clock: \timing prints milliseconds
seconds() {
	printf '\\timing on\n%s\n' "$1" | $PSQL -o /dev/null | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -1 | awk '{ print $1 / 1000 }'
}

train() {
	$PSQL -c "SET max_parallel_maintenance_workers = $2; SET maintenance_work_mem = '4GB';
		SELECT $4 FROM kpx_train('$1', params => '{\"factors\": $5, \"iterations\": $3}')"
}

# Median seconds of one iteration: the difference of 4 iterations and 1, so that setting up does not count.
iteration() {
	for run in $(seq "$RUNS"); do
		echo "$(train "$1" "$2" 4 train_seconds "$3") $(train "$1" "$2" 1 train_seconds "$3")" | awk '{ print ($1 - $2) / 3 }'
	done | median
}

# Floating point operations of one iteration: see row_flops in kernel.c.
flops() {
	$PSQL -c "SELECT sum(CASE WHEN n < $2 THEN n * n * $2 + n ^ 3 / 3 ELSE n * $2 ^ 2 + $2 ^ 3.0 / 3 END + 4 * n * $2)
		FROM bench.\"$1_lengths\""
}

ingest() {
	local floor read
	floor=$(for run in $(seq "$RUNS"); do seconds "SET max_parallel_workers_per_gather = 0; EXPLAIN (ANALYZE, TIMING OFF) SELECT user_id, item_id FROM bench.\"$1\";"; done | median)
	read=$(for run in $(seq "$RUNS"); do train "$1" 0 1 read_seconds 8; done | median)
	row "$1: reading and indexing events" "$(awk "BEGIN { printf \"%.2f M rows/s\", $2 / $read / 1e6 }")" \
		"$(awk "BEGIN { printf \"%.2f s; the executor alone needs %.2f s to hand them out\", $read, $floor }")"
}

training() {
	local alone together work
	for d in 64 128; do
		alone=$(iteration "$1" 0 $d)
		together=$(iteration "$1" 1 $d)
		work=$(flops "$1" $d)
		row "$1: one iteration, $d factors, 1 process" "$(awk "BEGIN { printf \"%.3f s\", $alone }")" \
			"$(awk "BEGIN { printf \"%.0f GFLOP/s, %.0f %% of sgemm\", $work / $alone / 1e9, $work / $alone / 1e7 / $PEAK }")"
		row "$1: one iteration, $d factors, 1 process + 1 worker" "$(awk "BEGIN { printf \"%.3f s\", $together }")" \
			"$(awk "BEGIN { printf \"%.2f times as fast\", $alone / $together }")"
	done
	row "$1: kpx_train with defaults, all of it" "$(awk "BEGIN { printf \"%.1f s\", $(train "$1" 1 12 'read_seconds + train_seconds + store_seconds' 64) }")" \
		"12 iterations, 64 factors, 1 worker"
}

# Links between items: additions of item-kNN against reading memory (20 bytes each: an index, a value, a
# sum read and written), EASE on the 5,000 most common items against sgemm (n^3 flops of the inverse).
links() {
	local additions seconds n=5000
	additions=$($PSQL -c "SELECT sum(n * n) FROM (SELECT count(DISTINCT item_id)::float8 AS n FROM bench.\"$1\" GROUP BY user_id) x")
	for workers in 0 1; do
		seconds=$(for run in $(seq "$RUNS"); do links_train "$1" itemknn $workers '{}'; done | median)
		row "$1: item-kNN, $((1 + workers)) process$([ $workers = 0 ] || echo es)" "$seconds s" \
			"$(awk "BEGIN { printf \"%.0f M additions/s, %.0f %% of reading memory\", $additions / $seconds / 1e6, 20 * $additions / $seconds / 1e7 / $BANDWIDTH }")"
	done
	$PSQL -c "CREATE VIEW bench.\"$1_common\" AS SELECT * FROM bench.\"$1\" WHERE item_id < $n" \
		-c "SELECT kpx_add_module('$1_common', 'bench.\"$1_items\"', 'id'), kpx_add_events('$1_common', 'bench.\"$1_common\"', 'purchase', 'user_id', 'item_id')" >/dev/null
	seconds=$(for run in $(seq "$RUNS"); do links_train "$1_common" ease 0 '{}'; done | median)
	row "$1: EASE of the $n most common items" "$seconds s" \
		"$(awk "BEGIN { printf \"%.0f GFLOP/s, %.0f %% of sgemm, all of training\", $n ^ 3 / $seconds / 1e9, $n ^ 3 / $seconds / 1e7 / $PEAK }")"
}

# Hybrid beside implicit ALS alone: its methods are trained twice, and lists are made for fitting weights.
hybrids() {
	local ials hybrid
	ials=$(for run in $(seq "$RUNS"); do links_train "$1" ials 1 '{}'; done | median)
	hybrid=$(for run in $(seq "$RUNS"); do links_train "$1" hybrid 1 '{}'; done | median)
	row "$1: hybrid of ials, item-kNN, rules, popularity" "$hybrid s" "$(awk "BEGIN { printf \"%.1f times ials alone, %.1f s; 1 worker\", $hybrid / $ials, $ials }")"
}

links_train() {
	$PSQL -c "SET max_parallel_maintenance_workers = $3; SET maintenance_work_mem = '4GB';
		SELECT train_seconds FROM kpx_train('$1', '$2', '$4', activate => false)"
}

answers() {
	local users=$2 file="$CLUSTER_DIR/answers.sql"
	printf '\\set u random(0, %s - 1)\nSELECT * FROM kpx_recommend(:u, '"'$1'"', 10);\n' "$users" >"$file"
	( cd "$CLUSTER_DIR" && rm -f pgbench_log.* &&
		pgbench -n -M prepared -c 1 -T 2 -f "$file" postgres >/dev/null 2>&1 &&
		pgbench -n -M prepared -c 1 -T 8 -l -f "$file" postgres >/dev/null 2>&1 ) || return 1
	awk '{ print $3 }' "$CLUSTER_DIR"/pgbench_log.* >"$CLUSTER_DIR/latencies"
	row "$1: kpx_recommend, k = 10, p50 round trip" "$(percentile 50 <"$CLUSTER_DIR/latencies") us" "prepared statement, 1 client, $3 items"
	row "$1: kpx_recommend, k = 10, p99 round trip" "$(percentile 99 <"$CLUSTER_DIR/latencies") us" "$(wc -l <"$CLUSTER_DIR/latencies") calls in 8 s"
	row "$1: the first call of a session" "$(for run in $(seq 21); do seconds "SELECT * FROM kpx_recommend(5, '$1');"; done | median | awk '{ printf "%.1f ms", 1000 * $1 }')" \
		"21 connections, the model in shared memory"
	batch "$1" "$3"
}

# batch NAME ITEMS [HOW]: lists for 5,000 users; a product of all their vectors with those of all items is what sgemm is counted for.
batch() {
	local batch
	batch=$(for run in $(seq "$RUNS"); do
		seconds "SELECT kpx_score(1, '$1', 1); SELECT count(*) FROM kpx_recommend_for(ARRAY(SELECT u FROM generate_series(0, 4999) u), '$1', 10);"
	done | median)
	row "$1: kpx_recommend_for, 5,000 users${3:-}" "$(awk "BEGIN { printf \"%.0f users/s\", 5000 / $batch }")" \
		"one session, k = 10; $(awk "BEGIN { printf \"%.0f\", 5000 / $batch * $2 * 64 * 2 / 1e7 / $PEAK }") % of sgemm counted over the product"
}

# One profile a user from all events, as they lie and sorted by user; beside the same query that only counts.
profiles() {
	local count profile sorted one events=$2 settings="SET max_parallel_workers_per_gather = 0; SET work_mem = '2GB'; SET jit = off;"
	local arguments="'$1', 'purchase', 'item:$1/' || item_id, 1, NULL, at, '90 days'"
	$PSQL -c "CREATE TABLE bench.by_user AS SELECT * FROM bench.\"$1\" ORDER BY user_id, at" -c "VACUUM ANALYZE bench.by_user" || return 1
	count=$(for run in $(seq "$RUNS"); do seconds "$settings SELECT count(n) FROM (SELECT user_id, count('item:$1/' || item_id) n FROM bench.\"$1\" GROUP BY 1) x;"; done | median)
	profile=$(for run in $(seq "$RUNS"); do seconds "$settings SELECT count(p) FROM (SELECT user_id, kpx_profile_agg($arguments) p FROM bench.\"$1\" GROUP BY 1) x;"; done | median)
	sorted=$(for run in $(seq "$RUNS"); do seconds "$settings SELECT count(p) FROM (SELECT user_id, kpx_profile_agg($arguments) p FROM bench.by_user GROUP BY 1) x;"; done | median)
	one=$(for run in $(seq "$RUNS"); do seconds "$settings SELECT kpx_profile_agg($arguments) p FROM bench.\"$1\";"; done | median)
	row "$1: kpx_profile_agg, one group" "$(awk "BEGIN { printf \"%.2f M events/s\", $events / $one / 1e6 }")" "one process, $(awk "BEGIN { printf \"%.2f\", $one }") s"
	row "$1: kpx_profile_agg by user, rows in order of users" "$(awk "BEGIN { printf \"%.2f M events/s\", $events / $sorted / 1e6 }")" "one process, $(awk "BEGIN { printf \"%.2f\", $sorted }") s"
	row "$1: kpx_profile_agg by user, rows in random order" "$(awk "BEGIN { printf \"%.2f M events/s\", $events / $profile / 1e6 }")" \
		"$(awk "BEGIN { printf \"%.2f s; count() of the same features by user needs %.2f s\", $profile, $count }")"
	$PSQL -c "DROP TABLE bench.by_user"
}

# cancelling NAME STEP LAST ALGORITHM PARAMS: how late statement_timeout takes effect, in any phase: milliseconds beyond the timeout.
cancelling() {
	for timeout in $(seq 50 "$2" "$3"); do
		printf "\\\\timing on\nSET maintenance_work_mem = '4GB';\nSET statement_timeout = %s;\nSELECT * FROM kpx_train('$1', '$4', params => '$5');\n" "$timeout" |
			psql -qXAt 2>/dev/null | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -1 | awk -v t="$timeout" '{ print $1 - t }'
	done | tee "$CLUSTER_DIR/late" >/dev/null
	row "$1: statement_timeout during training of $4, worst delay" "$(percentile 100 <"$CLUSTER_DIR/late" | awk '{ printf "%.0f ms", $1 }')" \
		"$(wc -l <"$CLUSTER_DIR/late") moments; median $(median <"$CLUSTER_DIR/late") ms"
}

# k-means beside scikit-learn, when the distribution's python3-sklearn is installed.
clustering() {
	/usr/bin/python3 -c 'import sklearn' 2>/dev/null || { echo "skipped k-means: apt-get install python3-sklearn"; return 0; }
	gcc -std=gnu11 -O3 -fno-math-errno -fno-trapping-math -Isrc -I"$BLAS_INCLUDE" -o "$CLUSTER_DIR/segment" \
		test/bench/segment.c src/core/*.c "$BLAS_LIBRARY" -lm &&
		RUNS=$RUNS /usr/bin/python3 test/bench/segment.py "$CLUSTER_DIR/segment" "$CLUSTER_DIR"
}

# What a slate costs and logging it adds; MMR beside log det on planted users.
slates() {
	createdb slates && psql -qX -v ON_ERROR_STOP=1 -d slates -f test/bench/slate.sql &&
		gcc -std=gnu11 -O3 -Isrc -o "$CLUSTER_DIR/diversity" test/bench/diversity.c src/core/policy.c -lm && "$CLUSTER_DIR/diversity"
}

size() {
	case $1 in
		1m) set -- 1m 50000 20000 1000000 ;;
		5m) set -- 5m 200000 100000 5000000 ;;
		*) echo "unknown size $1"; return 1 ;;
	esac
	$PSQL -v name="$1" -v users="$2" -v items="$3" -v events="$4" -f test/bench/generate.sql -f test/bench/lengths.sql >/dev/null || return 1
	row "$1: distinct user-item pairs" "$($PSQL -c "SELECT sum(n) / 2 FROM bench.\"$1_lengths\"")" "$2 users, $3 items, $4 events"
	ingest "$1" "$4"
	training "$1"
	profiles "$1" "$4"
	links "$1"
	answers "$1" "$2" "$3"
	hybrids "$1"
	cancelling "$1" 150 3000 ials '{"iterations": 1000}'
}

cluster_start "${PRELOAD-kpxrec}" || exit 1
export PGOPTIONS="-c client_min_messages=warning"
$PSQL -c 'CREATE EXTENSION kpxrec' || exit 1
echo "$(date +%Y-%m-%d), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores, $("$PG_CONFIG" --version)"
[ -z "${SIMULATE:-}" ] || { . test/bench/simulate.sh; simulating "$SIMULATE"; cluster_stop; exit; }
row "what" "figure" "how"
echo "|---|---:|---|"
[ -z "${ESTIMATE:-}" ] || { . test/bench/estimate.sh; estimates; cluster_stop; exit; }
[ -z "${EASE:-}" ] || { . test/bench/ease.sh; limits && ease_of "$EASE"; cluster_stop; exit; }
[ -z "${UPDATE:-}" ] || { $PSQL -v items="${ITEMS:-3000}" -f test/bench/update.sql; cluster_stop; exit; }
[ -z "${QUALITY:-}" ] || { . test/bench/quality.sh; quality "${DATA_DIR:-../shared/data}"; cluster_stop; exit; }
limits || exit 1
[ -z "${SERVE:-}" ] || { . test/bench/serve.sh; searching || exit 1; for s in $SERVE; do serve "$s" || exit 1; done; cluster_stop; exit; }
[ -z "${SCALE:-}" ] || { . test/bench/scale.sh; for s in $SCALE; do scale "$s" || exit 1; done; cluster_stop; exit; }
. test/bench/rules.sh
mining || exit 1
for s in $SIZES; do
	size "$s" || exit 1
done
echo
"$CLUSTER_DIR/kernel" 64 "$PEAK"
echo
gcc -std=gnu11 -O3 -fno-math-errno -fno-trapping-math -Isrc -I"$BLAS_INCLUDE" -o "$CLUSTER_DIR/svd" \
	test/bench/svd.c src/core/*.c "$BLAS_LIBRARY" -lm || exit 1
"$CLUSTER_DIR/svd" 100000 20000 128 "$PEAK" "$BANDWIDTH"
"$CLUSTER_DIR/svd" 20000 10000 64 "$PEAK" "$BANDWIDTH"
echo
gcc -std=gnu11 -O2 -ffunction-sections -Wl,--gc-sections -D_GNU_SOURCE -Isrc -I"$("$PG_CONFIG" --includedir-server)" \
	-o "$CLUSTER_DIR/calls" test/bench/calls.c || exit 1
"$CLUSTER_DIR/calls"
echo
clustering
echo
slates || exit 1
cluster_stop
