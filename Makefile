# kpxrec: recommendations across the business modules of one platform, inside PostgreSQL.
#
#   make            build for the PostgreSQL that PG_CONFIG names
#   make install    install it there
#   make demo       everything from nothing: a generated platform, trained and shown
#   make check      all tests on throw-away servers
#   make check-long  fuzzing, sqlsmith, valgrind, and the loads and crashes of make check for longer: an hour
#   make coverage   what the tests of src/core reach
#   make fuzz       random bytes to every parser of src/core, FUZZ_SECONDS=60 each
#   make bench      timings, see docs/performance.md
#   make lint       format and static checks; make format mends the format

EXTVERSION = 0.2.0
PG_CONFIG ?= pg_config
SCRIPT_TARGETS = demo check check-long fuzz coverage bench lint

# demo, check, fuzz, coverage, bench and lint install what is missing before anything else, so they must
# not need pg_config: test/run does the rest, calling make again.
ifneq ($(filter $(SCRIPT_TARGETS) format,$(MAKECMDGOALS)),)

.PHONY: $(SCRIPT_TARGETS) format
$(SCRIPT_TARGETS):
	@PG_CONFIG='$(PG_CONFIG)' KEEP='$(KEEP)' DATA='$(DATA)' test/run.sh $@
format:
	clang-format -i src/core/*.[ch] src/pg/*.[ch] test/core/*.[ch] test/fuzz/*.[ch]

else

MODULE_big = kpxrec
CORE_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/core/*.c)))
OBJS = $(CORE_OBJS) $(patsubst %.c,%.o,$(sort $(wildcard src/pg/*.c)))
EXTENSION = kpxrec
SCRIPT = sql/kpxrec--$(EXTVERSION).sql
# Released scripts do not change any more; what leads from one to the next does until it is released.
DATA = $(SCRIPT) sql/kpxrec--0.1.0.sql sql/kpxrec--0.1.0--0.2.0.sql
EXTRA_CLEAN = $(SCRIPT) regression.diffs .built-for

# OpenBLAS: the serial build, linked statically with hidden symbols. The pthread build
# starts threads inside the backend as soon as it is loaded, with signals unblocked; all
# builds share one soname, and the server loads libraries with RTLD_GLOBAL, so a shared
# library could be replaced by another extension's.
MULTIARCH := $(shell gcc -print-multiarch 2>/dev/null)
OPENBLAS_DIR ?= /usr/lib/$(MULTIARCH)/openblas-serial
OPENBLAS_INCLUDE ?= /usr/include/$(MULTIARCH)/openblas-serial
PG_CPPFLAGS = -Isrc -I$(OPENBLAS_INCLUDE) $(PG_CPPFLAGS_FAULTS)
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -Wno-clobbered $(WERROR)
SHLIB_LINK = -Wl,--exclude-libs,ALL $(OPENBLAS_DIR)/libopenblas.a -lm
$(CORE_OBJS): CFLAGS += -O3 -fno-math-errno -fno-trapping-math

override with_llvm = no
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
override with_llvm = no

all: $(SCRIPT)
$(SCRIPT): $(sort $(wildcard sql/[0-9]*.sql))
	{ printf '%s\n' '\echo Use "CREATE EXTENSION kpxrec" to load this file. \quit'; cat $^; } > $@

# Headers have no dependency lists of their own: rebuild when any changed, and when the
# server is another version.
$(OBJS): $(wildcard src/core/*.h src/pg/*.h) .built-for
.built-for: always
	@$(PG_CONFIG) --version | cmp -s - $@ || $(PG_CONFIG) --version > $@
.PHONY: always

endif
