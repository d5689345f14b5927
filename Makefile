# Build, install and test. `make help` lists the targets.
PG_CONFIG ?= pg_config
EXTENSION_MAKE = $(MAKE) --no-print-directory -f extension.mk PG_CONFIG="$(PG_CONFIG)"
export TESTS

.DEFAULT_GOAL = all

all:          ## build the extension
	@+$(EXTENSION_MAKE) all

install: all  ## install the extension into the PostgreSQL of PG_CONFIG
	@+$(EXTENSION_MAKE) install

uninstall:    ## remove what install put there
	@+$(EXTENSION_MAKE) uninstall

clean:        ## remove what building made
	@+$(EXTENSION_MAKE) clean
	rm -rf build/check

deps:         ## install the Debian and npm packages that building and testing need
	@ci/deps

# A copy of PostgreSQL that belongs to this tree alone: tests, demo and
# benchmarks install into it and never touch the system's.
PRIVATE_PG ?= $(CURDIR)/build/pg
private-pg:   ## copy PostgreSQL to build/pg, print its pg_config
	@ci/private_pg "$(PG_CONFIG)" "$(PRIVATE_PG)"

check: deps   ## everything CI runs; TESTS="name ..." selects tests
	@ci/check

check-style check-regress check-isolation check-tap: ## one part of check
	@ci/check $(@:check-%=%)

accept:       ## take the output of TESTS="name ..." as expected; then read git diff
	@test -n "$(TESTS)" && ACCEPT=1 ci/check regress isolation

help:         ## list the targets
	@sed -n 's/^\([a-z][a-z0-9 -]*\):[^#]*## */\1\t/p' Makefile | expand -t 60

.PHONY: all install uninstall clean deps private-pg accept help \
	check check-style check-regress check-isolation check-tap
