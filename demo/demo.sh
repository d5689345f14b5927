#!/usr/bin/env bash
# The demo: a private server, the orders of a real shop as event streams, a follower
# in another process, and a short tour.  `make demo` builds and installs first.
#
# Usage: demo/demo.sh [run|stop|clean]
#   run    start what is not running, post the orders, show the tour (the default)
#   stop   stop the server; the data stays
#   clean  stop the server and remove everything
# Environment: ECOMMERCE_RUN (run directory, /tmp/ecommerce), ECOMMERCE_PORT,
# PG_BINDIR (the PostgreSQL that the extension is installed in), DEMO_CSV (the file).
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$ROOT/demo/server.sh"
BIN=$(find_bindir)
FOLLOWER=

step() {
	printf '\n== %s ==\n' "$*"
}

# The file: what DEMO_CSV names, else the shared one beside the project, else our copy.
find_csv() {
	local candidate
	for candidate in ${DEMO_CSV:+"$DEMO_CSV"} "$ROOT/../shared/data/online_retail.csv" \
		"$ROOT/data/online_retail.csv"; do
		if [[ -r $candidate ]]; then
			realpath "$candidate"
			return
		fi
	done
	die "no online_retail.csv found"
}

# Ends the follower and waits for its last line.
stop_follower() {
	if [[ -n $FOLLOWER ]]; then
		kill -TERM "$FOLLOWER" 2>/dev/null || true
		wait "$FOLLOWER" || true
		FOLLOWER=
	fi
}
trap stop_follower EXIT

# Makes the demo's schema, with the file's lines in it, and its subscription at the start.
prepare() {
	local part
	for part in "$ROOT"/demo/sql/*.sql; do
		query -1 -f "$part"
	done
	# Each line as it stands: the delimiter and the quote occur in no text file.
	query -c "\\copy demo.raw_line (content) FROM '$1' \
(FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02', NULL E'\\x03')"
	query -c 'CALL demo.parse()'
	# Before the first order, so that both see all of them.
	[[ -n $(query -c "SELECT to_regclass('shop.order_list')") ]] ||
		query -1 -f "$ROOT/demo/projections.sql" >/dev/null
	query -c "SELECT event_store.create_subscription('demo-follower', 'order')
		WHERE NOT EXISTS (SELECT FROM event_store.subscriptions
						  WHERE name = 'demo-follower')" >/dev/null
	query -c "SELECT event_store.reset_subscription('demo-follower', 0)" >/dev/null
}

# Posts the orders while the follower watches, and waits until it has seen them all.
post() {
	"$ROOT/demo/follow.sh" &
	FOLLOWER=$!
	query -c 'CALL demo.post_all()'
	until [[ $(query -c "SELECT sum(lag_events) FROM event_store.subscriptions
		WHERE name = 'demo-follower'") == 0 ]]; do
		kill -0 "$FOLLOWER" || die "the follower died"
		query -c "CALL event_store.wait(9223372036854775807, '100 ms', 'order')" >/dev/null
	done
	stop_follower
	query -c 'CALL demo.check_report()'
}

# Lists one of the views of reasons: what, how many, and which.
reasons() {
	local reason count numbers
	while IFS='|' read -r reason count numbers; do
		printf '\n  %s %s: %s\n' "$count" "$1" "$reason"
		fold -s -w 90 <<<"$numbers" | sed 's/^/    /'
	done < <(query -c "TABLE $2")
}

report() {
	query -P format=aligned -P border=1 -P tuples_only=off -P footer=off -c 'TABLE demo.tally' |
		sed '/^$/d; s/^/  /'
	echo
	echo "Invoices that became no order, by reason; in brackets the first line of each:"
	reasons "invoice(s)" demo.invoice_reasons
	echo
	echo "Lines in no order, by reason and line number:"
	reasons "line(s)" demo.line_reasons
	query -F $'\t' -c 'SELECT line_no, invoice_no, problem FROM demo.reported ORDER BY line_no' \
		>"$RUN/reported.tsv"
	echo
	echo "The same line by line: $RUN/reported.tsv, or demo.reported in the database."
}

run() {
	local csv
	step "A private PostgreSQL with the extension"
	server_start
	database_create
	csv=$(find_csv)
	prepare "$csv"
	query -c "SELECT split_part(version(), ' on ', 1) || ', ecommerce ' || extversion
		FROM pg_extension WHERE extname = 'ecommerce'"

	step "Orders from $csv"
	post

	step "What became of every invoice and line"
	report
	. "$ROOT/demo/tour.sh"
}

case ${1:-run} in
	run) run ;;
	stop) server_stop && echo "stopped; the data stays in $PG_DIR" || echo "it was not running" ;;
	clean)
		server_stop || true
		rm -rf "$PG_DIR" "$RUN"/{initdb.log,installed.sql,reported.tsv}
		;;
	*) die "usage: demo/demo.sh [run|stop|clean]" ;;
esac
