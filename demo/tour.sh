# shellcheck shell=bash
# A tour of what is under the shop, for demo.sh: the order as an aggregate, projections,
# the event store, the message bus; and where to look on one's own.

# Appends by 8 clients for 3 seconds, in a database that is dropped again.
throughput() {
	local database=ecommerce_throughput
	query -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" -c "CREATE DATABASE $database"
	query -d $database -c 'CREATE EXTENSION ecommerce'
	as_owner "$BIN/pgbench" -n -M prepared -c 8 -j 2 -T 3 -f - $database 2>&1 <<-'SQL' |
		\set r random(1, 9000000000000000000)
		SELECT event_store.append('order-' || :r::text, 0, 'OrderCreated',
			'{"total_amount": 139.12}');
	SQL
		sed -n 's/^tps = \([0-9]*\).*/  \1 appends a second by 8 clients, each flushed to disk/p'
	query -c "DROP DATABASE $database WITH (FORCE)"
}

tour_of_the_orders() {
	local stream=order-$ORDER
	step "The order as an aggregate: its state at each version, folded from its events"
	ask_aloud "SELECT v AS version, l.state ->> 'status' AS status, l.updated_at::timestamp(3),
       l.state ->> 'confirmation_number' AS confirmation, l.state ->> 'total_amount' AS total
FROM generate_series(1, event_store.stream_version('$stream')) AS v,
     event_store.load('$stream', at_version => v) AS l;"
	say 'A command that its state does not allow:'
	ask_aloud "SELECT ecommerce.confirm_order('$ORDER', 'N-1001');"
	say 'Data that is not what its type says; nothing is written:'
	ask_aloud "SELECT event_store.append('order-1', 0, 'OrderCreated',
       jsonb_set(data, '{items,0,quantity}', '\"many\"'))
FROM event_store.read_stream('$stream', 1, 1);"
	step "Projections: inline ones inside the append, async ones in the background"
	ask_aloud "SELECT name, mode, state, checkpoint, lag_events, lag FROM event_store.projections;"
	ask_aloud "SELECT status, count(*) AS orders, sum(total_amount) AS total
FROM shop.order_list GROUP BY status ORDER BY status;"
	ask_aloud "SELECT day, sku, pieces, revenue FROM shop.product_sale
ORDER BY pieces DESC, sku LIMIT 5;"
}

tour_of_the_store() {
	local stream=order-$ORDER began
	step "The event store: one stream"
	ask_aloud "SELECT \"position\", version, event_type, occurred_at::timestamp(3),
       left(data::text, 40) AS data
FROM event_store.read_stream('$stream');"
	step "A version conflict: somebody else was faster"
	ask_aloud "SELECT event_store.append('$stream', 0, 'OrderConfirmed',
       '{\"confirmation_number\": \"A1\"}');"
	step "A read by time: what was ordered in the first second"
	began=$(query -c "SELECT occurred_at FROM event_store.read_stream('order-' || (
		SELECT order_id FROM demo.sale WHERE order_id IS NOT NULL ORDER BY first_line LIMIT 1),
		1, 1)")
	ask_aloud "SELECT event_type, count(*), min(occurred_at)::timestamp(3) AS first,
       max(occurred_at)::timestamp(3) AS last
FROM event_store.read_between('$began', timestamptz '$began' + interval '1 second', 'order')
GROUP BY event_type;"
	step "How far the follower is: it has not seen the orders that went wrong; now it has"
	ask_aloud "SELECT name, checkpoint, head, lag_events, lag FROM event_store.subscriptions
WHERE name = 'demo-follower';"
	ask_aloud "SELECT * FROM demo.follow('demo-follower');"
	ask_aloud "SELECT country, orders, completed, cancelled, revenue FROM demo.sales
ORDER BY revenue DESC LIMIT 5;"
	step "Throughput of the event store alone"
	throughput
}

the_message_bus() {
	step "The message bus: a command sent, retried, dead-lettered, corrected and redriven"
	# a copy, because the owner of the database may not be able to look into this tree
	cp "$ROOT/demo/bus.sh" "$WORK/bus.sh"
	as_owner env PG_BINDIR="$BIN" bash "$WORK/bus.sh" | sed 's/^\([^ ]\)/  \1/'
}

# Where the console tells two orders' stories: one that went well, and one that did not.
story_links() {
	query -c "SELECT format('            %s/#/story/%s    an order that ended %s', '$CONSOLE_URL',
			i.correlation_id, i.current_state)
		FROM (SELECT DISTINCT ON (current_state) * FROM saga.list('order', NULL, NULL, 1000)
			ORDER BY current_state, updated_at DESC) i
		ORDER BY i.current_state = 'Completed' DESC, i.current_state LIMIT 2"
}

console_log_ins() {
	local role
	for role in console_viewer console_operator; do
		[[ ! -s $RUN/keys/$role ]] || printf '            as %s with the password %s\n' \
			"$role" "$(<"$RUN/keys/$role")"
	done
}

your_turn() {
	local again=${ECOMMERCE_RUN:+ECOMMERCE_RUN=$ECOMMERCE_RUN }
	step "Your turn"
	cat <<-TEXT
	  Console:  $CONSOLE_URL    what happens, what is wrong, and what mends it
	$(console_log_ins)
	$(story_links)
	  Connect:  $BIN/psql -h $PGHOST -p ${PGPORT:-5432} -U ${PGUSER:-$USER} $PGDATABASE
	            \df event_store.*    TABLE saga.stuck;    TABLE message_bus.dead_letters;
	  Order:    curl -H @$RUN/keys/operator --json @order.json $GATEWAY_URL/orders
	            see $GATEWAY_URL/openapi/order.json
	  Keys:     SELECT * FROM ecommerce_access.create_key('me', 'operator');
	  Health:   curl $GATEWAY_URL/health/ready
	            curl http://127.0.0.1:${PORTS[order]}/metrics    and of the others on their ports
	  Logs:     $RUN/*.log
	  Follow:   ${again}demo/follow.sh    in another terminal
	  Stop:     ${again}make down    the data stays in $RUN
	TEXT
}
