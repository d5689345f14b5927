# The demo on lines that break every rule: each ends in exactly one order or in the report
# with its reason, over HTTP and through all services; then on the real file, in the same
# shop. What the services have in their tables is compared with figures known beforehand.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Console;
use List::Util qw(pairs);
use OpenShop;
use PostgreSQL::Test::Utils;
use Test::More;

my $heading = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';
my $partial = 'it returns no earlier order of this customer completely';
my $disagree = 'the lines of the invoice disagree about customer, country or date';
my $quantity = 'the quantity is no whole number other than 0';
my $neither = 'the invoice number is neither a sale nor a cancellation';
my $positive = 'the quantity of a cancellation is not negative';
my $refused = 'the shop refused it with 422: ';
my $price = 'the price is not an amount in pounds and pence';

# A line of the file, and the reason it is reported with; '' when it is in an order.
my @lines = (
	[ '500001,10001,"LAMP, 2"" WIDE",2,1/12/2010,1.50,100,France', '' ],
	[ '500001,10002b,MUG \\"A\\,3,1/12/2010,0,100,France', '' ],
	[ '500001,POST,POSTAGE,1,1/12/2010,18,100,France', 'the stock code is no product' ],
	[ '500002,10001,LAMP,1,1/12/2010,1.50,100,France', '' ],
	[ '500003,10001,LAMP,1,1/12/2010,1.50,,France', "${refused}customer_id must be a UUID" ],
	[ '500004,10001,LAMP,1,31/2/2010,1.50,100,France', 'the date is not day/month/year' ],
	[ '500005,10001,LAMP,-1,1/12/2010,1.50,100,France', 'the quantity of a sale is negative' ],
	[ '500005,10001,LAMP,0,1/12/2010,1.50,100,France', $quantity ],
	[ '500005,10001,LAMP,1,1/12/2010,-1.50,100,France', $price ],
	[ '500005,10001,LAMP,1,1/12/2010,1.505,100,France', $price ],
	[ '500005,10001,,1,1/12/2010,1.50,100,France', 'the product has no description' ],
	[ '500006,10001,LAMP,1,1/12/2010,1.50,100,France', $disagree ],
	[ '500006,10002,MUG,1,1/12/2010,1.50,101,France', $disagree ],
	[ '500007,10001,LAMP,1,1/12/2010', 'it has 5 fields instead of 8' ],
	[ '', 'it has 1 fields instead of 8' ],
	[ 'A500008,B,Adjust,1,1/12/2010,11062.06,100,France', $neither ],
	[ '500009,10001,LAMP,1,1/12/2010,1.50,x,France', 'the customer is no number' ],
	[ '500010,10001,LAMP,1,1/12/2010,1.50,100,', 'the line names no country' ],
	# Covers 500002 only; 500001 has a mug as well.
	[ 'C500011,10001,LAMP,-2,2/12/2010,1.50,100,France', '' ],
	# Covers 500001, whatever the case of the stock code, and gives back a mug too many.
	[ 'C500012,10001,LAMP,-2,2/12/2010,1.50,100,France', '' ],
	[ 'C500012,10002B,MUG,-4,2/12/2010,0,100,France', '' ],
	[ 'C500012,D,Discount,-1,2/12/2010,5,100,France', 'the stock code is no product' ],
	# Nothing is left to cancel: an order is cancelled once, and by its own customer.
	[ 'C500013,10001,LAMP,-9,2/12/2010,1.50,100,France', $partial ],
	[ 'C500014,10001,LAMP,-9,2/12/2010,1.50,101,France', $partial ],
	[ 'C500015,10001,LAMP,1,2/12/2010,1.50,100,France', $positive ],
	# Cancels no order that comes later.
	[ 'C500016,10003,BOWL,-1,2/12/2010,2.00,102,Norway', $partial ],
	[ '500017,10003,BOWL,1,3/12/2010,2.00,102,Norway', '' ]);
my @long = map { "500018,10003,BOWL,$_,3/12/2010,2.00,102,Norway" } 1 .. 501;

my $shop = OpenShop->new;
my $tree = $shop->{tree};

sub shop
{
	my ($sql) = @_;
	my ($out, $err) = run_command([ 'psql', '-XqAt', '-h', "$shop->{run}/pg", '-p',
		$ENV{ECOMMERCE_PORT}, '-U', 'postgres', '-c', $sql, 'ecommerce' ]);
	return $out . ($err =~ s/\nCONTEXT.*//sr);
}

# Runs the demo and returns what it prints.
sub demo
{
	my ($what, %env) = @_;
	local %ENV = (%ENV, %env);
	my $output = `"$tree/demo/demo.sh" 2>&1 </dev/null`;
	is($?, 0, "$what runs to its end") or diag($output);
	return $output;
}

my $csv = "$shop->{directory}/dirty.csv";
append_to_file($csv, join('', map { "$_\n" } $heading, (map { $_->[0] } @lines), @long));
my ($status, $said) = $shop->up;
is($status, 0, 'the shop opens') or die $said;

my $output = demo('the demo', DEMO_CSV => $csv);
like($output, qr/^== $_/m, "it shows: $_")
  for 'Stock', 'Its invoices', 'The warehouse', 'What became', 'Do file, events and services agree',
  'One order across all services', 'Orders that go wrong', 'The order as an aggregate',
  'Projections', 'The event store', 'A version conflict', 'A read by time', 'How far the follower',
  'Throughput', 'The message bus', 'Your turn';
unlike($output, qr/│ NO$/m, 'nothing disagrees');
is(shop('SELECT name FROM event_store.subscriptions WHERE lag_events > 0'), '',
	'nobody is left behind, which the console would say');

# The console: where it is, who may log in, two orders to look at.
my $console = "http://127.0.0.1:$ENV{CONSOLED_PORT}";
like($output, qr/^  Console:  \Q$console\E /m, 'it says where the console is');
my @stories = map { +{ address => $_->[0], state => $_->[1] } } pairs($output =~
	  m{^ +(\Q$console\E/#/story/\S+)    an order that ended (\w+)$}mg);
is(scalar @stories, 2, 'and which two stories to look at');
my %password = map { $output =~ /^ +as $_ with the password (\S+)$/m ? ($_ => $1) : () }
  qw(console_viewer console_operator);
is(scalar keys %password, 2, 'and as whom');
Console->at($console, %password)->browse('console_demo.mjs', { stories => \@stories });

for my $i (0 .. $#lines)
{
	my $number = $i + 2;
	is(shop("SELECT problem FROM demo.reported WHERE line_no = $number"), $lines[$i][1],
		"line $number: $lines[$i][0]");
}
is(shop("SELECT * FROM demo.line_reasons WHERE reason LIKE '%500%'"),
	"${refused}items must be an array of 1 to 500 lines|501|29-529", 'too many lines');
is(shop('TABLE demo.tally'), "invoices|17|1|2|2|12\nlines|528|1|3|3|521", 'the report adds up');

# Figures that follow from the lines above: 500001 is 3.00 and 5 pieces, 500002 is 1.50 and
# 1 piece, both are cancelled; 500017 is 2.00 and 1 piece. Refused orders sell nothing.
my $of_file = 'order_id IN (SELECT order_id FROM demo.invoice)';
is(shop("SELECT sum(amount) FILTER (WHERE status = 'captured'),
		sum(amount) FILTER (WHERE status NOT IN ('captured', 'refunded', 'voided'))
	FROM ecommerce_payment.payment WHERE $of_file"), '2.00|', 'the money that is kept');
is(shop("SELECT count(*), sum(amount) FROM ecommerce_payment.simulator_charge
	WHERE status = 'captured'"), '1|2.00', 'and that the provider has charged');
is(shop('SELECT sku, on_hand, reserved FROM ecommerce_inventory.product ORDER BY sku'),
	"10001|14|0\n10002B|3|0\n10003|125751|0",
	'what is left of each product: all that came but the one bowl that was sold');
is(shop("SELECT status, count(*) FROM ecommerce_shipping.shipment
	WHERE status <> 'cancelled' AND $of_file GROUP BY status"), 'delivered|1', 'parcels');
is(shop("SELECT template, count(*) FROM ecommerce_notification.notification
	WHERE status = 'sent' AND template <> 'order_confirmed' AND $of_file
	GROUP BY template ORDER BY template"),
	"order_cancelled|2\norder_delivered|1\norder_received|3\norder_shipped|1", 'mails');

is(shop("SELECT version, data ->> 'total_amount', data #>> '{items,0,product_name}',
		data #>> '{items,1,product_name}', data #>> '{items,1,sku}'
	FROM demo.invoice, event_store.read_stream('order-' || order_id)
	WHERE invoice_no = '500001' AND event_type = 'OrderCreated'"),
	qq{1|3.00|LAMP, 2" WIDE|MUG \\"A\\|10002B}, 'an order comes as it is in the file');
is(shop("SELECT invoice_no, cancellation ->> 'reason'
	FROM demo.placed JOIN demo.sale USING (order_id) WHERE cancellation IS NOT NULL ORDER BY 1"),
	"500001|returned with invoice C500012\n500002|returned with invoice C500011",
	'the orders that cancelling invoices take back');
# Whether the bank or the customer was faster may differ, not the end.
is(shop('SELECT what, status, reason, payment, stock FROM demo.tales'), join("\n",
		'no carrier goes there|Cancelled|ShippingUnavailable|refunded|released',
		'the card is declined|Cancelled|card_declined|declined|released',
		'more than there is|Cancelled|OutOfStock|-|rejected',
		'cancelled when all was done|Cancelled|changed my mind|refunded|released',
		'cancelled before a slow bank has paid|Cancelled|changed my mind|refunded|released'),
	'what goes wrong is undone');
is(shop('SELECT DISTINCT who FROM demo.timeline((SELECT order_id FROM demo.invoice
	WHERE invoice_no = $$500017$$)) ORDER BY who'),
	"event store\ngateway\ninventoryd\nnotificationd\norderd\npaymentd\nsaga\nshippingd",
	'one order is seen by all services');

# The report must not pass when something is missing, or when a service has other figures
# than the file: what is changed, and what the report then says.
my @tampered = (
	[ 'DELETE FROM demo.line WHERE line_no = 2', 'the report does not add up: lines of 528' ],
	[ 'DELETE FROM demo.invoice WHERE invoice_no = $$500004$$',
		'the report does not add up: invoices of 17' ],
	[ "DELETE FROM ecommerce_order.order_summary WHERE status = 'Completed'",
		'the report does not add up' ],
	[ 'UPDATE demo.line SET unit_price = unit_price + 0.01 WHERE line_no = 28',
		'what they are worth: 6.51 in the file, 6.50 by events, 6.50 by the service' ],
	[ 'UPDATE ecommerce_order.order_summary SET total_amount = total_amount + 0.01
		WHERE total_amount = 1.50', 'what they are worth: 6.50 in the file, 6.50 by events, 6.51' ],
	[ "UPDATE ecommerce_payment.payment SET amount = 2.01 WHERE status = 'captured'",
		'money kept, by payments: 2.00 in the file, 2.00 by events, 2.01 by the service' ],
	[ "UPDATE ecommerce_payment.simulator_charge SET amount = 1.99 WHERE status = 'captured'",
		'money kept, at the provider: 2.00 in the file, 2.00 by events, 1.99 by the service' ],
	[ "DELETE FROM ecommerce_inventory.reservation WHERE status = 'committed'",
		'pieces sold, by reservations: 1 in the file, 1 by events, 0 by the service' ],
	[ 'UPDATE ecommerce_inventory.product SET on_hand = on_hand + 1 WHERE sku = $$10002B$$',
		'pieces left, by stock: 125768 in the file, 125768 by events, 125769 by the service' ],
	[ "DELETE FROM ecommerce_shipping.shipment WHERE status = 'delivered'",
		'parcels delivered: 1 in the file, 1 by events, 0 by the service' ],
	[ "DELETE FROM ecommerce_notification.notification WHERE template = 'order_delivered'",
		'mails: order delivered: unknown in the file, 1 by events, 0 by the service' ]);
for my $case (@tampered)
{
	like(shop("BEGIN; $case->[0]; CALL demo.check_report(); COMMIT"), qr/\Q$case->[1]/,
		"noticed: $case->[1]");
}

# The first invoices of the real file, in the same shop; what was ordered before stays.
my $known = shop('SELECT md5(string_agg(o::text, $$,$$ ORDER BY order_id))
	FROM ecommerce_order.order_summary AS o');
my $shared = shop('SELECT array_agg(order_id) FROM ecommerce_order.order_summary');
$output = demo('the demo on the real file, after that', DEMO_INVOICES => 20,
	DEMO_CSV => "$tree/data/online_retail.csv");
is(shop('SELECT "in the file", "orders completed" + "orders cancelled" + cancelling + reported
	FROM demo.tally WHERE what = $$invoices$$'), '20|20', 'only as many invoices as asked for');
is(shop('SELECT string_agg(DISTINCT agree::text, $$,$$), count(*) FROM demo.books'), 'true|16',
	'the books agree again');
is(shop("SELECT md5(string_agg(o::text, ',' ORDER BY order_id))
	FROM ecommerce_order.order_summary AS o WHERE order_id = ANY ('$shared')"), $known,
	'the orders of the first run are as they were');
is($shop->down, 0, 'the shop closes');
is_deeply([ $shop->running ], [], 'and nothing runs any more');
done_testing();
