#!/usr/bin/env bash
# The demo, for a shop that is open (services/up): the orders of a real shop from invoice
# to delivery over HTTP, orders that go wrong, and a tour of what is underneath.
# `make demo` builds, installs and opens the shop first; `make down` closes it.
#
# Usage: demo/demo.sh
# Environment: that of services/up, DEMO_CSV (the file), DEMO_INVOICES (only that many).
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$ROOT/services/run.sh"
. "$ROOT/demo/lib.sh"
. "$ROOT/demo/orders.sh"
. "$ROOT/demo/tales.sh"
. "$ROOT/demo/tour.sh"
BIN=$(find_bindir)
use_database
trap stop_background EXIT

runs nginx || die "the shop is closed: 'make demo' or services/up opens it"
mkdir -p "$WORK"
say "$(query -c "SELECT split_part(version(), ' on ', 1) || ', ecommerce ' || extversion
	FROM pg_extension WHERE extname = 'ecommerce'")"
real_orders
one_order
the_keys
orders_that_go_wrong
if [[ $ORDER ]]; then
	tour_of_the_orders
	tour_of_the_store
fi
the_message_bus
your_turn
