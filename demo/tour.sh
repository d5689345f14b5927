# shellcheck shell=bash
# The tour at the end of the demo; demo.sh reads it.  Each stop shows a statement as
# one would type it, and its answer.

# Shows a statement and runs it; one that fails is part of the tour.
ask_aloud() {
	printf '%s\n' "$1" | sed 's/^\t*/  /'
	"$BIN/psql" -Xq -P footer=off -P linestyle=unicode -P border=1 -v VERBOSITY=verbose \
		-c "$1" 2>&1 | sed '/^LOCATION:/d; /^$/d; s/^/  /' || true
}

# Appends by 8 clients for 3 seconds, in a database that is dropped again.
throughput() {
	local database=ecommerce_throughput script=$RUN/throughput.sql
	query -d postgres -c "DROP DATABASE IF EXISTS $database WITH (FORCE)"
	query -d postgres -c "CREATE DATABASE $database"
	query -d $database -c 'CREATE EXTENSION ecommerce'
	cat >"$script" <<-'SQL'
		\set r random(1, 9000000000000000000)
		SELECT event_store.append('order-' || :r::text, 0, 'OrderCreated',
			'{"total_amount": 139.12}');
	SQL
	PGDATABASE=$database "$BIN/pgbench" -n -M prepared -c 8 -j 2 -T 3 -f "$script" 2>&1 |
		sed -n 's/^tps = \([0-9]*\).*/  \1 appends a second by 8 clients, each flushed to disk/p'
	query -d postgres -c "DROP DATABASE $database WITH (FORCE)"
	rm -f "$script"
}

stream=$(query -c "SELECT stream FROM demo.invoice JOIN demo.line USING (invoice_no)
	WHERE outcome IN ('created', 'cancelled') AND NOT invoice.cancels
	GROUP BY stream, first_line HAVING count(*) BETWEEN 2 AND 4 ORDER BY first_line LIMIT 1")

step "One stream"
ask_aloud "SELECT version, event_type, occurred_at::date, data ->> 'total_amount' AS total,
       jsonb_array_length(data -> 'items') AS items, metadata #>> '{headers,invoice}' AS invoice
FROM event_store.read_stream('$stream');"

step "A version conflict: somebody else was faster"
ask_aloud "SELECT event_store.append('$stream', 0, 'OrderConfirmed',
       '{\"confirmation_number\": \"A1\"}');"

step "What an order may not be: the data is checked against its type before anything is written"
ask_aloud "SELECT event_store.append('order-1', 0, 'OrderCreated', jsonb_set(data,
       '{items,1,quantity}', '\"many\"'))
FROM event_store.read_stream('$stream', 1, 1);"

step "The order as an aggregate: commands load, decide and save; its state at each version"
ask_aloud "BEGIN;
SELECT ecommerce.confirm_order('${stream#order-}', 'N-1001') AS version;
SELECT ecommerce.cancel_order('${stream#order-}', 'changed my mind') AS version;
SELECT l.version, state ->> 'status' AS status, state ->> 'confirmation_number' AS confirmation,
       state ->> 'cancel_reason' AS cancel_reason, state ->> 'total_amount' AS total
FROM generate_series(1, 3) AS v, event_store.load('$stream', at_version => v) AS l;
ROLLBACK;"
ask_aloud "SELECT ecommerce.complete_order('${stream#order-}');"

step "Two projections: one inside the append, one in the background"
ask_aloud "SELECT name, mode, state, checkpoint, lag_events, lag FROM event_store.projections;"
ask_aloud "SELECT status, count(*) AS orders, sum(total_amount) AS total
FROM shop.order_list GROUP BY status ORDER BY status;"
ask_aloud "SELECT day, sku, pieces, revenue FROM shop.product_sale
ORDER BY pieces DESC LIMIT 5;"

step "A read by time"
ask_aloud "SELECT occurred_at::date AS day, count(*) AS orders,
       sum((data ->> 'total_amount')::numeric) AS total
FROM event_store.read_between('2010-12-02 00:00Z', '2010-12-02 23:59:59Z', 'order')
WHERE event_type = 'OrderCreated' GROUP BY 1 ORDER BY 1;"

step "How far the follower is"
ask_aloud "SELECT name, checkpoint, head, lag_events, lag FROM event_store.subscriptions;"
ask_aloud "SELECT country, orders, revenue FROM demo.sales ORDER BY revenue DESC LIMIT 5;"

step "Throughput"
throughput

step "Your turn"
again=${ECOMMERCE_RUN:+ECOMMERCE_RUN=$ECOMMERCE_RUN }
cat <<TEXT
  Connect:   $BIN/psql -h $PGHOST -p $PGPORT -U $PGUSER $PGDATABASE
  Look at:   SELECT * FROM event_store.read_all(0, 10);    \\df event_store.*
  Wait:      CALL event_store.wait(event_store.high_water_mark(), '1 minute');
  Follow:    ${again}demo/follow.sh        in another terminal, then append
  Stop:      ${again}demo/demo.sh stop     (clean removes the data as well)
TEXT
