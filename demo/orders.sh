# shellcheck shell=bash
# The first half of the demo, for demo.sh: the file's invoices become orders over HTTP,
# cancelling ones cancel, the warehouse sends the parcels, and the books are compared.

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

# Makes the demo's schema with the file's lines in it, and its subscription from now on.
read_file() {
	local part
	for part in "$ROOT"/demo/sql/*.sql; do
		query -1 <"$part"
	done
	# Each line as it stands: the delimiter and the quote occur in no text file.
	query -c "COPY demo.raw_line (content)
		FROM STDIN (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', NULL E'\x03')" <"$1"
	query -c "CALL demo.parse(nullif('${DEMO_INVOICES:-}', '')::int)" -c 'CALL demo.plan_stock()'
	[[ $(query -c "SELECT to_regclass('shop.order_list')") ]] ||
		query -1 <"$ROOT/demo/projections.sql" >/dev/null
	query -c "SELECT event_store.create_subscription('demo-follower', 'order')
		WHERE NOT EXISTS (SELECT FROM event_store.subscriptions
						  WHERE name = 'demo-follower')" \
		-c "SELECT event_store.reset_subscription('demo-follower', began_at) FROM demo.run" \
		>/dev/null
}

fill_stock() {
	wave products operator
	wave deliveries warehouse
	say "$(query -c "SELECT format('%s products, %s pieces', count(*), sum(delta))
		FROM demo.stock")"
	[[ -z $(query -c "SELECT FROM demo.answer WHERE status >= 300") ]] ||
		die "not all stock was taken in: $(query -c "SELECT name, status, body ->> 'detail'
			FROM demo.answer WHERE status >= 300 LIMIT 1")"
}

post_orders() {
	local began=$EPOCHREALTIME
	wave orders operator
	query -c 'CALL demo.take_orders()'
	POSTING=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
	wave cancellations operator
	query -c 'CALL demo.take_cancellations()'
	until_none 'orders under way' "SELECT demo.orders_under_way('{Confirmed, Cancelled}')"
}

send_parcels() {
	wave parcels warehouse
	wave dispatches warehouse
	wave arrivals warehouse
	until_none 'orders under way' "SELECT demo.orders_under_way('{Completed, Cancelled}')"
	until_none 'mails under way' 'SELECT sum(events - service) FROM demo.mail_book'
}

report() {
	local reason count numbers
	step "What became of every invoice and line"
	table 'TABLE demo.tally'
	echo
	say 'Invoices that are no order, by reason:'
	while IFS='|' read -r reason count; do
		printf '  %7s  %s\n' "$count" "$reason"
	done < <(query -c 'TABLE demo.invoice_reasons')
	echo
	say 'Lines that are in no order, by reason, with their numbers in the file:'
	while IFS='|' read -r reason count numbers; do
		printf '  %7s  %s\n' "$count" "$reason"
		fold -s -w 84 <<<"$numbers" | sed 's/^/             /'
	done < <(query -c 'TABLE demo.line_reasons')
	query -F $'\t' -c 'SELECT line_no, invoice_no, problem FROM demo.reported ORDER BY line_no' \
		>"$WORK/reported.tsv"
	say "One by one: $WORK/reported.tsv, or demo.reported in the database."

	step "Do file, events and services agree?"
	table "SELECT what, file AS \"the file says\", events AS \"the orders' events say\",
		service AS \"the service says\", CASE WHEN agree THEN 'yes' ELSE 'NO' END AS agree
		FROM demo.books"
	query -c 'CALL demo.check_report()'
	say 'To the piece and to the cent.'
}

real_orders() {
	local csv
	csv=$(find_csv)
	step "Stock for the orders of $csv"
	read_file "$csv"
	fill_stock

	step "Its invoices, posted as orders to $GATEWAY_URL; a follower looks on"
	while_following post_orders
	say "$(query -c "SELECT format('%s of %s invoices posted in $POSTING s, %s accepted, '
		'%s cancelled by a later one;', count(*), (SELECT count(*) FROM demo.invoice),
		count(*) FILTER (WHERE status = 202),
		(SELECT count(*) FROM demo.invoice WHERE cancelled_by IS NOT NULL))
		FROM demo.answer WHERE wave = 'orders'" -c "SELECT demo.quantiles('orders')" |
		paste -s -d ' ')"

	step "The warehouse dispatches the parcels, and they are delivered"
	while_following send_parcels
	report
}
