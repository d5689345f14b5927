# Builds and installs the extension with PGXS. The top-level Makefile calls it
# from the top of the tree; it is a file of its own because PGXS claims target
# names (check, installcheck) that mean more than the extension here.
EXTENSION = ecommerce
MODULE_big = ecommerce
OUR_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" ecommerce.control)
include extension/upgrade/edge.mk

SRCS = $(sort $(wildcard extension/*.c extension/*/*.c extension/*/*/*.c)) $(FUZZ_SRCS)
OBJS = $(SRCS:.c=.o)
OUR_HEADERS = $(wildcard extension/*.h extension/*/*.h extension/*/*/*.h)
PG_CPPFLAGS = -I$(CURDIR)/extension -DECOMMERCE_VERSION='"$(OUR_VERSION)"'

# The install script is written in parts, one per module, in their order.
SQL_PARTS = $(sort $(wildcard extension/sql/*.sql))
OUR_EDGE = ecommerce--$(PREVIOUS_VERSION)--$(OUR_VERSION).sql
DATA_built = ecommerce--$(OUR_VERSION).sql $(OUR_EDGE)
DATA = $(wildcard extension/upgrade/*--*--*.sql)
EXTRA_CLEAN = $(DATA_built)

# JIT bitcode buys nothing here: our functions are never inlined into a plan.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error no PostgreSQL server headers found: type "make deps", or set PG_CONFIG)
endif
include $(PGXS)
.DELETE_ON_ERROR:

$(OBJS): $(OUR_HEADERS) ecommerce.control

ecommerce--$(OUR_VERSION).sql: $(SQL_PARTS)
	cat $^ > $@

$(OUR_EDGE): ecommerce--$(OUR_VERSION).sql $(call edge_parts,extension/upgrade,ecommerce)
	$(call make_edge,extension/upgrade,ecommerce,$<) > $@
