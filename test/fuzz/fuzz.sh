# fuzz.sh: fuzz targets of src/core. Sourced by run.sh.
#
# make fuzz runs each for FUZZ_SECONDS (60); an input that breaks one is kept in its corpus, where
# make check runs it from then on. ONLY='fuzz profile' runs one.

fuzz_targets() { ls test/fuzz/*.c | sed 's|.*/\(.*\)\.c|\1|' | grep -vx replay; }

# The corpus as plain files: no libFuzzer. Core is compiled as for its unit tests.
fuzz_corpus() {
	[ -f "$CORE_DIR/compiled" ] || core_library || return 1
	gcc $CORE_FLAGS -Isrc -Itest/fuzz "-I$BLAS_INCLUDE" "test/fuzz/$1.c" test/fuzz/replay.c "$CORE_DIR"/*.o "$BLAS_LIBRARY" -lm -o "$CORE_DIR/replay" || return 1
	"$CORE_DIR/replay" "test/fuzz/corpus/$1"/* 2>"$CORE_DIR/replay.out" || { tail -30 "$CORE_DIR/replay.out"; return 1; }
}

fuzz_library() {
	FUZZ_FLAGS='-std=gnu11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined'
	export FUZZ_FLAGS BLAS_INCLUDE FUZZ_DIR
	printf '%s\n' src/core/*.c | xargs -P 2 -I{} sh -c \
		'clang $FUZZ_FLAGS -fsanitize=fuzzer-no-link -Isrc "-I$BLAS_INCLUDE" -c {} -o "$FUZZ_DIR/$(basename {} .c).o"' && touch "$FUZZ_DIR/compiled"
}

# New inputs are kept only while it runs: the corpus stays small.
fuzz_target() {
	local dir=$FUZZ_DIR/$1.new program=$FUZZ_DIR/$1 found
	[ -f "$FUZZ_DIR/compiled" ] || fuzz_library || return 1
	mkdir "$dir" "$dir.crash" && clang $FUZZ_FLAGS -fsanitize=fuzzer -Isrc -Itest/fuzz "-I$BLAS_INCLUDE" "test/fuzz/$1.c" "$FUZZ_DIR"/*.o "$BLAS_LIBRARY" -lm -o "$program" || return 1
	if "$program" -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -timeout=25 -rss_limit_mb=1024 -print_final_stats=1 \
		-artifact_prefix="$dir.crash/" "$dir" "test/fuzz/corpus/$1" >"$program.out" 2>&1; then
		awk -v name="$1" '/^#[0-9]+\t.*cov:/ { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
			/number_of_executed_units/ { runs = $2 } /peak_rss_mb/ { rss = $2 }
			END { printf "        %s: %d inputs, %d edges, %d MB\n", name, runs, cov, rss }' "$program.out"
		return 0
	fi
	tail -40 "$program.out"
	for found in "$dir.crash"/*; do
		[ -e "$found" ] && cp "$found" "test/fuzz/corpus/$1/" && echo "kept as test/fuzz/corpus/$1/$(basename "$found")"
	done
	return 1
}

fuzz() {
	local target
	FUZZ_DIR=$RUN_DIR/fuzz
	mkdir "$FUZZ_DIR"
	for target in $(fuzz_targets); do
		step "fuzz $target" fuzz_target "$target"
	done
}
