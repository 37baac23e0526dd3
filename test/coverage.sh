# coverage.sh: how much of src/core its unit tests and fuzz corpora reach. Sourced by run.sh.
#
# make coverage prints lines and branches of each file, and the lines with branches that nothing takes. Compiled
# without optimisation, so that branches are those of the source.

coverage_library() {
	COVERAGE_FLAGS='-std=gnu11 -O0 -g --coverage -fprofile-update=atomic'
	export COVERAGE_FLAGS BLAS_INCLUDE CORE_DIR
	printf '%s\n' src/core/*.c | xargs -P 2 -I{} sh -c \
		'gcc $COVERAGE_FLAGS -Isrc "-I$BLAS_INCLUDE" -c {} -o "$CORE_DIR/$(basename {} .c).o"'
}

# covered NAME SOURCES... -- ARGUMENTS...: compiles and runs one program
covered() {
	local name=$1 sources=()
	shift
	while [ "$1" != -- ]; do
		sources+=("$1")
		shift
	done
	shift
	gcc -std=gnu11 -O1 -Isrc -Itest/fuzz "-I$BLAS_INCLUDE" "${sources[@]}" "$CORE_DIR"/*.o "$BLAS_LIBRARY" --coverage -lm -o "$CORE_DIR/$name" &&
		"$CORE_DIR/$name" "$@" >"$CORE_DIR/$name.out" 2>&1 || { tail -20 "$CORE_DIR/$name.out"; return 1; }
}

coverage() {
	local file target
	CORE_DIR=$RUN_DIR/core
	mkdir "$CORE_DIR"
	step "core for coverage" coverage_library
	for file in test/core/*_test.c; do
		step "coverage $(basename "$file" _test.c)" covered "$(basename "$file" .c)" "$file" --
	done
	for target in $(fuzz_targets); do
		step "coverage of corpus $target" covered "fuzz_$target" "test/fuzz/$target.c" test/fuzz/replay.c -- "test/fuzz/corpus/$target"/*
	done
	gcovr --root . --filter src/core/ --exclude-unreachable-branches --gcov-ignore-parse-errors "$CORE_DIR" --branches --print-summary || failed=$((failed + 1))
	gcovr --root . --filter src/core/ "$CORE_DIR" --print-summary | tail -2
}
