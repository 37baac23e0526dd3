# simulate.sh: platforms to try policies on, each in a database of its own. Sourced.

# simulate SEED WAY PEOPLE WEEKS: leaves the database sim_WAY (of the last seed), and adds lines
# "seed,way,week,earned,visits" to $RUN_DIR/simulated.csv. Ways: see loop.sql.
simulate() {
	local psql="psql -qXAt -v ON_ERROR_STOP=1 -d sim_$2"
	psql -qX -d postgres -c "DROP DATABASE IF EXISTS sim_$2" -c "CREATE DATABASE sim_$2" 2>/dev/null &&
		PGOPTIONS='-c client_min_messages=warning -c max_parallel_maintenance_workers=0' $psql -c 'CREATE EXTENSION kpxrec' \
			-v seed="$1" -v way="$2" -v people="$3" -v weeks="$4" -f test/demo/simulator.sql -f test/demo/loop.sql &&
		$psql -F, -c "SELECT $1, '$2', (visit + 1) / 2, sum(earned), count(DISTINCT (visit, user_id)) FROM sim.shown GROUP BY 3" >>"$RUN_DIR/simulated.csv"
}

# simulated DATABASE: the lines so far as a table there.
simulated() {
	psql -qX -v ON_ERROR_STOP=1 -d "$1" -c 'CREATE TABLE simulated (seed int, way text, week int, earned float8, visits int)' \
		-c "\\copy simulated FROM '$RUN_DIR/simulated.csv' (FORMAT csv)"
}
