# simulate.sh: what the loop of serving, feedback, training and optimising earns on simulated platforms,
# by seeds, and how often off-policy intervals cover the truth there. Sourced by bench.sh.
. test/demo/simulate.sh

simulating() {
	local people=${PEOPLE:-300} weeks=${WEEKS:-5}
	for seed in $(seq "$1"); do
		for way in popular cross start ranked loop; do
			simulate "$seed" $way "$people" "$weeks" || return 1
		done
	done
	simulated postgres || return 1
	echo "| $1 platforms of $people people, $weeks weeks | earned | visits | ours earns more by | that is | in |"
	echo "|---|---:|---:|---:|---:|---:|"
	$PSQL -f test/bench/simulate.sql || return 1
	echo
	echo "| judged, from logs of ${SLATES:-400} slates | estimator | truth | mean estimate of ${LOGS:-80} logs | mean standard error | 95 % intervals that cover the truth | effective sample size |"
	echo "|---|---|---:|---:|---:|---:|---:|"
	PGOPTIONS='-c client_min_messages=error' $PSQL -d sim_start -v logs="${LOGS:-80}" -v slates="${SLATES:-400}" -f test/bench/coverage.sql
}
