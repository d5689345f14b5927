# Build, install and test. `make help` lists the targets.
PG_CONFIG ?= pg_config
EXTENSION_MAKE = $(MAKE) --no-print-directory -f extension.mk PG_CONFIG="$(PG_CONFIG)"
export TESTS DATABASES

.DEFAULT_GOAL = all

all:          ## build the extension and the daemons
	@+$(EXTENSION_MAKE) all
	@+$(call services,all)

install: all  ## install the extension where PG_CONFIG says, and the daemons
	@+$(EXTENSION_MAKE) install
	@+$(call services,install)

uninstall:    ## remove what install put there
	@+$(EXTENSION_MAKE) uninstall
	@+$(call services,uninstall)

clean:        ## remove what building made
	@+$(EXTENSION_MAKE) clean
	@+$(call services,clean)
	rm -rf build/check

# The daemons' own Makefile, where there is one.
services = if [ -f services/Makefile ]; then \
	$(MAKE) --no-print-directory -C services $(1) PG_CONFIG="$(PG_CONFIG)"; fi

deps:         ## install the Debian and npm packages that building and testing need
	@ci/deps

# A copy of PostgreSQL that belongs to this tree alone: tests, demo and
# benchmarks install into it and never touch the system's.
PRIVATE_PG ?= $(CURDIR)/build/pg
private-pg:   ## copy PostgreSQL to build/pg, print its pg_config
	@ci/private_pg "$(PG_CONFIG)" "$(PRIVATE_PG)"

# Installs what is missing, builds, installs into the private copy and prints
# where its programs are.
prepare = PG_BINDIR=$$(ci/prepare) && export PG_BINDIR

demo:         ## up, then real orders from invoice to delivery, and a tour; DATABASES=five
	@$(prepare) && services/up && demo/demo.sh

up:           ## start what is missing of PostgreSQL, the daemons and the gateway
	@$(prepare) && services/up

down:         ## stop them; the data stays
	@services/down

docs:         ## write docs/reference.md from the comments in the database
	@$(prepare) && ci/docs

pictures:     ## take the console's pictures in docs/pictures anew, as make check does
	@mkdir -p build && KEEP=1 TESTS=135_console_pages ci/check tap | tee build/pictures.log
	@taken=$$(sed -n 's/^logs and outputs are in //p' build/pictures.log)/debug/tap-out && \
		for name in overview story; do \
			cp "$$taken/console_pictures/$$name-light.png" docs/pictures/ || exit; done

bench:        ## measure beside the limit and the peers; BENCH_ARGS go to bench/run
	@ci/deps && $(prepare) && $(MAKE) -s -C bench PG_CONFIG="$$PG_BINDIR/pg_config" && \
		bench/run $(BENCH_ARGS)

check:        ## everything CI runs; TESTS="name ..." selects tests
	@ci/deps check
	@ci/check

check-style check-regress check-isolation check-tap check-services check-tidy: ## a part of it
	@ci/check $(@:check-%=%)

accept:       ## take the output of TESTS="name ..." as expected; then read git diff
	@test -n "$(TESTS)" && touch $(TESTS:%=expected/%.out) && ACCEPT=1 ci/check \
		$(if $(filter-out iso_%,$(TESTS)),regress) $(if $(filter iso_%,$(TESTS)),isolation)

format:       ## lay out all C as check-style wants it
	@ci/format

coverage:     ## which lines the tests reach, in build/coverage
	@ci/coverage

check-valgrind:    ## the regression tests on a server under valgrind
	@ci/valgrind

check-upgrade:     ## the regression tests on databases that come from the version before
	@UPGRADED=1 ci/check regress && TESTS=065_upgrade ci/check tap

freeze:            ## keep what this version is, for upgrades from it: extension/upgrade
	@$(prepare) && extension/upgrade/freeze

check-assert:      ## everything on a PostgreSQL with assertions, built from Debian's source
	@PG_CONFIG=$$(ci/assert_pg) && export PG_CONFIG && ci/check regress isolation tap

check-discard:     ## the heart of it on that server, while no cache keeps anything
	@PG_CONFIG=$$(ci/assert_pg) && export PG_CONFIG DISCARD_CACHES=1 && \
		TESTS="$${TESTS:-$(HEART)}" ci/check regress
HEART = smoke heart

check-dba:    ## a DBA's day under load: DBA_SECONDS (1200), DBA_SEED
	@DBA_SECONDS=$${DBA_SECONDS:-1200} TAP_TIMEOUT=$$(($${DBA_SECONDS:-1200} + 1200)) \
		TESTS=110_dba_day ci/check tap

check-restores:    ## a dump restored into a running server in every way, RESTORES (100) times
	@RESTORES=$${RESTORES:-100} TAP_TIMEOUT=$${TAP_TIMEOUT:-10800} \
		TESTS=061_restore_stress ci/check tap

check-standstill:  ## how late all else is beside each fault; STANDSTILL_PROBES (50), idle machine
	@STANDSTILL_PROBES=$${STANDSTILL_PROBES:-50} TAP_TIMEOUT=3600 \
		TESTS=072_standstill ci/check tap

check-looking:     ## what operators look at costs the same with 10 million events
	@LOOKING_SCALE=$${LOOKING_SCALE:-50} TAP_TIMEOUT=7200 \
		TESTS="$${TESTS:-130_looking 134_console_large}" ci/check tap

gallery:      ## pictures of every page with nothing, little and much in it: somebody looks at them
	@KEEP=1 TAP_DIRECTORY=t/gallery TAP_TIMEOUT=3600 ci/check tap

check-film:   ## a daemon dies at FILM_RATE (100) orders a second; who only clicks mends it
	@FILM_RATE=$${FILM_RATE:-100} TAP_TIMEOUT=1800 TESTS=132_console_film ci/check tap

check-live:   ## what the console costs a server at rest, 100 browsers or none: LIVE_SECONDS (60)
	@LIVE_SECONDS=$${LIVE_SECONDS:-60} FLAVOUR=release TESTS=133_console_live ci/check tap

check-links:  ## a million messages over a link, 1000 kills, failovers: LINK_MESSAGES, LINK_SEED
	@LINK_MESSAGES=$${LINK_MESSAGES:-1000000} LINK_KILLS=$${LINK_KILLS:-1000} \
		LINK_FAILOVERS=$${LINK_FAILOVERS:-20} TAP_TIMEOUT=$${TAP_TIMEOUT:-14400} \
		TESTS=099_link_long ci/check tap

check-network:     ## a link whose network is cut until TCP gives up; 3 minutes
	@TAP_DIRECTORY=ha TESTS=network ci/check tap

check-five:   ## the shop in five databases for longer, all killed: SHOP_ORDERS, SHOP_SEED
	@SHOP_ORDERS=$${SHOP_ORDERS:-1000} SHOP_ROUNDS=$${SHOP_ROUNDS:-30} \
		TAP_TIMEOUT=$${TAP_TIMEOUT:-7200} \
		TESTS="081_five_chaos 089_five_reconciliation 097_five_databases" ci/check tap

check-ha:     ## kills leaders under Patroni and etcd, under load: HA_KILLS (4), HA_SYNCHRONOUS
	@ci/ha

check-bridge:     ## whoever carries to and from RabbitMQ is killed: BRIDGE_ROUNDS (60)
	@BRIDGE_ROUNDS=$${BRIDGE_ROUNDS:-60} TAP_TIMEOUT=3600 TESTS=100_bridge ci/check tap

check-streams:     ## whoever publishes to Kafka and NATS is killed: STREAM_ROUNDS (60)
	@STREAM_ROUNDS=$${STREAM_ROUNDS:-60} TAP_TIMEOUT=3600 TESTS=101_streamd ci/check tap

check-fuzz:   ## libFuzzer on what parses bytes: FUZZ_SECONDS (600) for each target, FUZZ_SEED
	@PG_CONFIG=$$(ci/assert_pg) && export PG_CONFIG && \
		FUZZ_SECONDS=$${FUZZ_SECONDS:-600} ci/check fuzz

check-hostile:     ## strangers of every role, HOSTILE_SECONDS (1200) on a release and on assertions
	@HOSTILE_SECONDS=$${HOSTILE_SECONDS:-1200} && export HOSTILE_SECONDS && \
		TAP_TIMEOUT=$$((HOSTILE_SECONDS + 900)) && export TAP_TIMEOUT && \
		FLAVOUR=release TESTS=120_hostile ci/check tap && \
		PG_CONFIG=$$(ci/assert_pg) && export PG_CONFIG && TESTS=120_hostile ci/check tap

check-pg17:   ## build and test on PostgreSQL 17, in a Debian trixie of its own (root)
	@ci/other_pg trixie

check-pg18:   ## the same on PostgreSQL 18, in a Debian sid
	@ci/other_pg sid

check-compile-all: ## build on every PostgreSQL that Debian has (root)
	@ci/build release >/dev/null && ci/other_pg trixie build && ci/other_pg sid build

deb:          ## Debian packages in build/deb, looked at by lintian
	@ci/deb

dist:         ## the last commit as PGXN takes it, build/ecommerce-VERSION.zip
	@ci/dist

check-packages:    ## the packages in a bare Debian: install, demo, upgrade, purge (root)
	@ci/packages

check-kubernetes:  ## what kustomize makes of deploy/k8s (kubectl 1.21)
	@npm install --no-audit --no-fund --silent --prefix t && ci/kubernetes

check-fresh:  ## the README's commands on a fresh Debian, as root and as a user (root)
	@ci/fresh

help:         ## list the targets
	@sed -n 's/^\([a-z][a-z0-9 -]*\):[^#]*## */\1\t/p' Makefile | expand -t 30

.PHONY: docs all install uninstall clean deps private-pg demo up down bench check check-style \
	check-regress check-isolation check-tap check-services check-tidy accept format \
	coverage check-assert check-discard check-valgrind check-pg17 check-pg18 check-compile-all \
	check-fresh check-packages check-kubernetes deb dist check-dba check-hostile check-fuzz \
	check-ha check-links check-five check-network check-upgrade freeze help pictures \
	check-restores check-standstill check-bridge check-streams check-looking check-film check-live \
	gallery
