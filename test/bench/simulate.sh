# simulate.sh: what the loop of serving, feedback, training and optimising earns on simulated platforms,
# by seeds, how much of what optimising could gain it gains, and how often off-policy intervals cover the truth there. Sourced by bench.sh.
. test/demo/simulate.sh

simulating() {
	local people=${PEOPLE:-300} weeks=${WEEKS:-5} oracle
	mkdir "$RUN_DIR/apart" || return 1
	for seed in $(seq "$1"); do
		for way in popular cross start ranked loop; do
			simulate "$seed" $way "$people" "$weeks" || return 1
		done
		RUN_DIR=$RUN_DIR/apart simulate "$seed" mended "$people" "$weeks" || return 1
		for way in loop mended; do
			oracle=$(PGOPTIONS='-c client_min_messages=error' psql -qXAt -v ON_ERROR_STOP=1 -d sim_$way -f test/bench/oracle.sql) || return 1
			echo "$seed,$way,$oracle" >>"$RUN_DIR/oracle.csv"
		done
	done
	simulated postgres || return 1
	echo "| $1 platforms of $people people, $weeks weeks | earned | visits | ours earns more by | that is | in |"
	echo "|---|---:|---:|---:|---:|---:|"
	$PSQL -f test/bench/simulate.sql || return 1
	echo
	echo "What a slate earns in truth, at the ranking of the last week: seed, way, first policy, optimised, best of a grid, which is"
	cat "$RUN_DIR/oracle.csv"
	echo
	echo "| judged, from logs of ${SLATES:-400} slates | estimator | truth | mean estimate of ${LOGS:-80} logs | mean standard error | 95 % intervals that cover the truth | effective sample size |"
	echo "|---|---|---:|---:|---:|---:|---:|"
	PGOPTIONS='-c client_min_messages=error' $PSQL -d sim_start -v logs="${LOGS:-80}" -v slates="${SLATES:-400}" -f test/bench/coverage.sql
}
