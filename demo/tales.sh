# shellcheck shell=bash
# Single orders, for demo.sh: one through all services, and some that go wrong.

# An order of the file that is easily looked at: of few lines, and completed if there is one.
typical_order() {
	query -c "SELECT order_id FROM demo.sale JOIN demo.outcome USING (invoice_no)
		WHERE order_id IS NOT NULL
		ORDER BY outcome <> 'completed', jsonb_array_length(items) NOT BETWEEN 2 AND 4, first_line
		LIMIT 1"
}

one_order() {
	local correlation
	step "One order across all services"
	ORDER=$(typical_order)
	if [[ -z $ORDER ]]; then
		say 'The file had no order.'
		return
	fi
	correlation=$(query -c "SELECT metadata ->> 'correlation_id'
		FROM event_store.read_stream('order-$ORDER', 1, 1)")
	cat "$RUN"/*.log | grep -F "$correlation" |
		query -c "COPY demo.log_line FROM STDIN (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')"
	table "SELECT to_char(at, 'HH24:MI:SS.MS') AS at, who, what FROM demo.timeline('$ORDER')"
	say "From grep $correlation $RUN/*.log, saga.history and the order's events;" \
		"the same in short: curl -H @$RUN/keys/operator $GATEWAY_URL/orders/$ORDER"
}

# What a key opens, and that of another scope or another customer does not.
the_keys() {
	step "Keys: who may do what"
	CUSTOMER_KEY=$WORK/customer
	key_opens "$CUSTOMER_KEY" || key_create "$CUSTOMER_KEY" 'customer of the demo' customer \
		"$(query -c "SELECT demo.uuid_of('customer', 'demo')")"
	table "SELECT name, scope, customer_id, is_valid FROM ecommerce_access.api_keys ORDER BY 1"
	say 'Made with ecommerce_access.create_key(); only their SHA-256 is kept.'
	try_door 'nobody' '' /orders
	try_door 'an operator' "$RUN/keys/operator" "/orders/$ORDER"
	try_door 'the warehouse' "$RUN/keys/warehouse" "/orders/$ORDER"
	try_door 'another customer' "$CUSTOMER_KEY" "/orders/$ORDER"
}

# Shows how somebody with the key in that file fares at an address.
try_door() {
	local who=$1 key=$2 path=$3
	printf '  %-17s GET %s  %s\n' "$who" "$path" "$(local_curl --output /dev/null \
		--write-out '%{http_code}' ${key:+-H "@$key"} "$GATEWAY_URL$path")"
}

# Places an order that goes its own way, and leaves its id in PLACED.
# place WHAT QUANTITY COUNTRY TOKEN
place() {
	PLACED=$(query -c "SELECT demo.tale_body($2, '$3', '$4')" |
		local_curl --fail -H "@$CUSTOMER_KEY" --json @- "$GATEWAY_URL/orders" |
		sed -n 's/.*"order_id": *"\([^"]*\)".*/\1/p')
	[[ $PLACED ]] || die "the shop did not take the order '$1'"
	query -c "INSERT INTO demo.tale (what, order_id) VALUES ('$1', '$PLACED')"
}

# Asks the shop to cancel the order of PLACED.
change_mind() {
	local_curl --fail -H "@$CUSTOMER_KEY" --output /dev/null \
		--json '{"reason": "changed my mind"}' "$GATEWAY_URL/orders/$PLACED/cancel" ||
		die "the shop did not hear the cancellation"
}

orders_that_go_wrong() {
	local no_carrier late
	step "Orders that go wrong, and are undone"
	place 'no carrier goes there' 2 XX tok_ok
	no_carrier=$PLACED
	place 'the card is declined' 1 DE tok_declined
	place 'more than there is' 1000000 DE tok_ok
	place 'cancelled when all was done' 1 DE tok_ok
	until_none 'order to be confirmed' "SELECT
		demo.orders_under_way('{Completed, Confirmed, Cancelled}')"
	change_mind
	place 'cancelled before a slow bank has paid' 3 DE tok_slow
	late=$PLACED
	until_none 'bank to be asked' "SELECT 1 - count(*) FROM ecommerce_payment.payment
		WHERE order_id = '$PLACED' AND charge_begun_at IS NOT NULL"
	change_mind
	until_none 'orders under way' "SELECT demo.orders_under_way('{Completed, Cancelled}')"
	table 'TABLE demo.tales'
	query -c 'CALL demo.check_report()'
	say 'All pieces are back in stock, and the books above still agree.'
	echo
	say 'No carrier: paid, and refunded when shipping failed.'
	table "SELECT * FROM demo.history('$no_carrier')"
	echo
	say 'The slow bank: cancelled while it was asked; what it paid after that went back.'
	table "SELECT * FROM demo.history('$late')"
	table "SELECT amount, to_char(h.at, 'HH24:MI:SS.MS') AS \"cancelled at\",
		to_char(processed_at, 'HH24:MI:SS.MS') AS \"money came at\", p.status, refund_id
		FROM ecommerce_payment.payment AS p, saga.history('order', order_id) AS h
		WHERE order_id = '$late' AND h.event = 'OrderCancellationRequested'"
	query -c "SELECT saga.diagram('order')" >"$WORK/order-saga.mmd"
	echo
	say "Everything the saga may do, as a Mermaid diagram: $WORK/order-saga.mmd"
}
