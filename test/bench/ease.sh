# ease.sh: EASE of many items: time, memory, share of sgemm, and how late it is cancelled. EASE=20000 make bench is
# the most it is meant for: some minutes on a quiet machine, and 1.6 GB. Sourced by bench.sh when EASE is set.

# ease_of ITEMS
ease_of() {
	local seconds n=$1
	$PSQL -v name=many -v users=$((5 * n / 2)) -v items="$n" -v events=$((50 * n)) -f test/bench/generate.sql >/dev/null || return 1
	seconds=$(links_train many ease 0 '{}')
	row "EASE of $n items, 1 process" "$seconds s" \
		"$(awk "BEGIN { printf \"%.0f GFLOP/s, %.0f %% of sgemm, all of training\", $n ^ 3 / $seconds / 1e9, $n ^ 3 / $seconds / 1e7 / $PEAK }")"
	row "the same, memory" "$($PSQL -c "SELECT memory_bytes >> 20 FROM kpx_train_estimate('{many}', 'ease')") MB" \
		"kpx_train_estimate; the matrix is $((n / 1024 * n / 1024 * 4)) MB"
	cancelling many "$(awk "BEGIN { printf \"%d\", 1 + 1000 * $seconds / 12 }")" "$(awk "BEGIN { printf \"%d\", 1000 * $seconds }")" ease '{}'
}
