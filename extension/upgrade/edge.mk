# How the script of ALTER EXTENSION UPDATE from the version before is made; see README.md.
PREVIOUS_VERSION := 1.0
UPGRADE := $(dir $(lastword $(MAKEFILE_LIST)))

# $(1): the directory with the frozen script, $(2): the extension
edge_parts = $(UPGRADE)edge $(1)/$(2)--$(PREVIOUS_VERSION).sql \
	$(wildcard $(1)/$(PREVIOUS_VERSION)--$(OUR_VERSION).sql)
# and $(3): its install script
make_edge = $(UPGRADE)edge $(1)/$(2)--$(PREVIOUS_VERSION).sql \
	$(1)/$(PREVIOUS_VERSION)--$(OUR_VERSION).sql $(3)
