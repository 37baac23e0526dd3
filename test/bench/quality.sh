# quality.sh: joint training beside single modules on real data, full ranking. QUALITY=1 make bench.
# Sourced by bench.sh. TUNE=1 searches the parameters again, on events held out of training and
# never on the test (an hour on two cores); without it those that such a search found are used.

# Sports and phones of Amazon (DisenCDR, SIGIR 2022): train is registered, test is held_out, and
# few holds the test pairs of people with at most five interactions in the module they are tested in.
ials_single_sports='{"factors": 256, "iterations": 9, "regularization": 0.041, "unobserved_weight": 0.0058}'
ials_joint_sports='{"factors": 273, "iterations": 9, "regularization": 0.0469, "unobserved_weight": 0.0041, "module_weights": {"phones": {"weight": 0.207}}}'
ials_single_phones='{"factors": 316, "iterations": 9, "regularization": 0.042, "unobserved_weight": 0.0083}'
ials_joint_phones='{"factors": 316, "iterations": 9, "regularization": 0.042, "unobserved_weight": 0.0083, "module_weights": {"sports": {"weight": 0.16}}}'
hybrid_single_sports='{"algorithm": "hybrid", "itemknn": {"asymmetry": 0.3, "shrinkage": 20}, "factors": 256, "iterations": 9, "regularization": 0.041, "unobserved_weight": 0.0058}'
hybrid_joint_sports='{"algorithm": "hybrid", "itemknn": {"asymmetry": 0.3, "shrinkage": 20}, "factors": 201, "iterations": 9, "regularization": 0.0293, "unobserved_weight": 0.00575, "module_weights": {"phones": {"weight": 0.183}}}'
hybrid_single_phones='{"algorithm": "hybrid", "itemknn": {"asymmetry": 0.3, "shrinkage": 20}, "factors": 316, "iterations": 9, "regularization": 0.042, "unobserved_weight": 0.0083}'
# found for hybrid alone itself, by kpx_tune with the ranges below, time_budget 200 and 160 s
hybrid_searched_sports='{"algorithm": "hybrid", "weighting": "tfidf", "itemknn": {"asymmetry": 0.117803, "shrinkage": 26.0033}, "factors": 250, "iterations": 8, "regularization": 0.0203979, "unobserved_weight": 0.00492514}'
hybrid_searched_phones='{"algorithm": "hybrid", "weighting": "tfidf", "itemknn": {"asymmetry": 0.13181, "shrinkage": 11.0718}, "factors": 236, "iterations": 9, "regularization": 0.0404877, "unobserved_weight": 0.0072833}'
hybrid_joint_phones='{"algorithm": "hybrid", "itemknn": {"asymmetry": 0.3, "shrinkage": 20}, "factors": 236, "iterations": 9, "regularization": 0.0373, "unobserved_weight": 0.00728, "module_weights": {"sports": {"weight": 0.447}}}'

quality_data() {
	$PSQL <<-EOF
		CREATE TABLE ev (module text, user_id int, item_id int);
		CREATE TABLE held_out (module text, user_id int, item_id int);
		\copy ev FROM PROGRAM 'gzip -dc "$1/amazon_sport_phone_train.csv.gz"' CSV HEADER
		\copy held_out FROM PROGRAM 'gzip -dc "$1/amazon_sport_phone_test.csv.gz"' CSV HEADER
		CREATE TABLE items AS SELECT DISTINCT item_id FROM ev;
		ALTER TABLE items ADD PRIMARY KEY (item_id);
		CREATE VIEW sports AS SELECT user_id, item_id FROM ev WHERE module = 'sports';
		CREATE VIEW phones AS SELECT user_id, item_id FROM ev WHERE module = 'phones';
		CREATE INDEX ON ev (user_id);
		CREATE VIEW few AS SELECT * FROM held_out h
			WHERE (SELECT count(*) FROM ev WHERE ev.user_id = h.user_id AND ev.module = h.module) <= 5;
		SELECT kpx_add_module(m, 'items', 'item_id') FROM unnest('{sports,phones}'::text[]) m;
		SELECT kpx_add_events(m, m::regclass, 'purchase', 'user_id', 'item_id') FROM unnest('{sports,phones}'::text[]) m;
	EOF
}

# found ALGORITHM MODULES TARGET PARAMS RANGES: params by kpx_tune, on a split of train; without TUNE those given.
found() {
	[ -n "${TUNE:-}" ] || { echo "$4"; return; }
	$PSQL -c "SELECT params FROM kpx_tune('{$2}', '$1', 9, '$5', target => '$3') LIMIT 1"
}

# judged LABEL MODULES TARGET PARAMS: HR@10 and NDCG@10 of the target for everybody and for the few.
judged() {
	local who
	for who in held_out few; do
		$PSQL -F ' ' -c "SELECT round(100 * max(value) FILTER (WHERE metric = 'hit_rate@10')::numeric, 2), round(100 * max(std_error) FILTER (WHERE metric = 'hit_rate@10')::numeric, 2),
			round(100 * max(value) FILTER (WHERE metric = 'ndcg@10')::numeric, 2), max(users)
			FROM kpx_evaluate('{$2}', 10, params => '$4', held_out => '$who') WHERE module = '$3'"
	done | awk -v label="$1" -v target="$3" '{ hr[NR] = $1 " ± " $2; ndcg[NR] = $3; n[NR] = $4 }
		END { printf "| %s | %s | %s | %s (%d) | %s (%d) |\n", target, label, hr[1], ndcg[1] , n[1], hr[2] ", " ndcg[2], n[2] }'
}

quality() {
	local space single joint module other algorithm
	quality_data "$1" >/dev/null || return 1
	echo "| module | training | HR@10 % | NDCG@10 % (users) | at most 5 interactions: HR@10 %, NDCG@10 % (users) |"
	echo "|---|---|---:|---:|---:|"
	for module in sports phones; do
		[ $module = sports ] && other=phones || other=sports
		for algorithm in ials hybrid; do
			space='{"factors": [160, 400], "iterations": [7, 12], "unobserved_weight": [0.004, 0.012], "regularization": [0.02, 0.05]'
			[ $algorithm = ials ] || space="$space, \"weighting\": \"tfidf\", \"itemknn\": {\"asymmetry\": [0.1, 0.5], \"shrinkage\": [10, 40]}"
			single=$(found $algorithm $module $module "$(eval 'echo "$'$algorithm'_single_'$module'"')" "$space}")
			joint=$(found $algorithm sports,phones $module "$(eval 'echo "$'$algorithm'_joint_'$module'"')" \
				"$space, \"module_weights\": {\"$other\": {\"weight\": [0.1, 0.6]}}}")
			judged "$algorithm, alone" $module $module "$single"
			[ $algorithm = ials ] || [ -n "${TUNE:-}" ] ||
				judged "$algorithm, alone, searched for itself" $module $module "$(eval 'echo "$hybrid_searched_'$module'"')"
			judged "$algorithm, jointly" sports,phones $module "$joint"
			echo "$algorithm, alone: $single" >&2
			echo "$algorithm, jointly: $joint" >&2
		done
	done
}
