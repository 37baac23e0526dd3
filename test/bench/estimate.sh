# estimate.sh: what kpx_train_estimate says beside what kpx_train takes. Sourced by bench.sh when ESTIMATE is set.

estimates() {
	$PSQL -v name=e300k -v users=20000 -v items=3000 -v events=300000 -f test/bench/generate.sql >/dev/null || return 1
	echo "| algorithm, params | interactions: planner, counted | read s: estimate, real | train s: estimate, real | memory MB | model MB: estimate, real |"
	echo "|---|---|---|---|---:|---|"
	while read -r algorithm params; do
		$PSQL -F ' ' -c "SET max_parallel_maintenance_workers = 0; SET client_min_messages = warning" \
			-c "CREATE TEMP TABLE e AS SELECT * FROM kpx_train_estimate('{e300k}', '$algorithm', '$params')" \
			-c "CREATE TEMP TABLE r AS SELECT * FROM kpx_train('{e300k}'::text[], '$algorithm', '$params', activate => false)" \
			-c "SELECT format('| %s %s | %s, %s | %s, %s | %s, %s | %s | %s, %s |', '$algorithm', '$params', e.interactions, r.interactions,
				round(e.read_seconds::numeric, 2), round(r.read_seconds::numeric, 2), round(e.train_seconds::numeric, 2),
				round(r.train_seconds::numeric, 2), e.memory_bytes >> 20, round(e.model_bytes / 1048576.0, 1), round(m.bytes / 1048576.0, 1))
				FROM e, r JOIN kpx_models m ON m.model = r.model"
	done <<-EOF
		ials {"factors": 32}
		ials {"factors": 64}
		ials {"factors": 128, "iterations": 6}
		itemknn {}
		transition {}
		ease {}
	EOF
}
