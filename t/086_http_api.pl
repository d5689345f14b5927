# The HTTP API in detail: conditional requests, idempotency, cursors, every kind of refusal
# with every bad field named. All exchanges are then held against the OpenAPI documents
# that the daemons serve, which are held against OpenAPI's own schema.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run qw(run);
use Shop;
use Test::More;

my $shop = Shop->new(name => 'api');
$shop->start;
my @exchanges;

# A request whose exchange is kept; fails unless the status is that.
sub try
{
	my ($status, $service, $method, $path, $body, %headers) = @_;
	my $reply = $shop->call($service, $method, $path, $body, %headers);

	is($reply->{status}, $status, "$status: $method $path" . (%headers ? " (@{[ %headers ]})" : ''))
	  or diag explain $reply->{body};
	is($reply->{body}{status}, $status, 'and its problem document says so') if $status >= 400;
	push @exchanges, { service => $service, method => $method, path => $path,
		status => 0 + $reply->{status}, type => $reply->{headers}{'content-type'} // '',
		request => ref $body ? $body : undef, body => $reply->{body} };
	return $reply;
}

# The fields that a refusal names.
sub fields
{
	my ($reply) = @_;
	return join ' ', sort map { $_->{field} } @{ $reply->{body}{errors} // [] };
}

# All items of a collection, by pages of two.
sub pages
{
	my ($service, $path) = @_;
	my ($after, @items) = ('');
	do
	{
		my $page = try(200, $service, 'GET', "$path${after}limit=2")->{body};
		push @items, @{ $page->{items} };
		$after = defined $page->{next} ? "after=$page->{next}&" : '';
		cmp_ok(scalar @{ $page->{items} }, '<=', 2, 'a page is not too long');
	} while ($after);
	return @items;
}

my $unknown = Shop::uuid();
my $customer = Shop::uuid();
my $id = Shop::uuid();

subtest 'products' => sub {
	my $new = try(201, 'inventory', 'PUT', "/products/$id", { sku => 'A', name => 'Apple' });
	is($new->{headers}{location}, "/products/$id", 'where it is');
	is_deeply($new->{body}, { product_id => $id, sku => 'A', name => 'Apple', on_hand => 0,
		reserved => 0, available => 0, version => 1 }, 'without stock');
	try(200, 'inventory', 'PUT', "/products/$id", { sku => 'A', name => 'Apple' });
	try(200, 'inventory', 'POST', "/products/$id/stock", { delta => 100, reason => 'delivery' });
	my $tag = try(200, 'inventory', 'GET', "/products/$id")->{headers}{etag};
	try(304, 'inventory', 'GET', "/products/$id", undef, 'If-None-Match' => $_)
	  for $tag, "W/$tag", "\"x\", $tag", '*';
	try(200, 'inventory', 'GET', "/products/$id", undef, 'If-None-Match' => '"x"');
	try(409, 'inventory', 'PUT', "/products/$unknown", { sku => 'A', name => 'Another' });
	is(fields(try(422, 'inventory', 'PUT', '/products/x', { sku => '' })), 'name product_id sku',
		'all are named');
	is(fields(try(422, 'inventory', 'POST', "/products/$id/stock", { delta => 0.5 })),
		'delta reason', 'all are named');
	try(409, 'inventory', 'POST', "/products/$id/stock", { delta => -101, reason => 'x' });
	try(404, 'inventory', 'POST', "/products/$unknown/stock", { delta => 1, reason => 'x' });
	try(404, 'inventory', 'GET', "/products/$_") for $unknown, 'x';
	try(400, 'inventory', 'PUT', "/products/$id", '{');
	try(415, 'inventory', 'PUT', "/products/$id", 'x', 'Content-Type' => 'text/plain');
	try(201, 'inventory', 'PUT', '/products/' . Shop::uuid(), { sku => "B$_", name => 'x' })
	  for 1 .. 4;
	my %seen = map { $_->{product_id} => 1 } pages('inventory', '/products?');
	is(scalar keys %seen, 5, 'the pages show each product once');
	is(fields(try(422, 'inventory', 'GET', '/products?after=x&limit=0')), 'after limit',
		'all are named');
};

my @orders;
subtest 'orders' => sub {
	my $body = $shop->order_body($id, 2, customer_id => $customer);
	my $first = try(202, 'order', 'POST', '/orders', $body, 'Idempotency-Key' => 'api');
	my $again = try(202, 'order', 'POST', '/orders', $body, 'Idempotency-Key' => 'api');
	is_deeply([ $again->{body}, @{ $again->{headers} }{qw(etag location)} ],
		[ $first->{body}, @{ $first->{headers} }{qw(etag location)} ],
		'a repeat gets the first answer');
	is($first->{headers}{location}, "/orders/$first->{body}{order_id}", 'where it is');
	is(fields(try(422, 'order', 'POST', '/orders', { %$body, customer_id => $unknown },
		'Idempotency-Key' => 'api')), 'Idempotency-Key', 'another body');
	is(fields(try(422, 'order', 'POST', '/orders', { items => [ { quantity => 0 }, 1 ] })),
		'customer_id items[0].product_id items[0].product_name items[0].quantity items[0].sku '
		. 'items[0].unit_price items[1] payment_method shipping_address', 'all are named');
	try(400, 'order', 'POST', '/orders', '[1]');
	try(413, 'order', 'POST', '/orders', '{"a": "' . 'x' x 1_048_576 . '"}');
	try(415, 'order', 'POST', '/orders', 'x', 'Content-Type' => 'text/plain');
	@orders = ($first->{body}{order_id}, map { try(202, 'order', 'POST', '/orders',
		$body)->{body}{order_id} } 1 .. 4);
	$shop->reaches($_, 'Confirmed') for @orders;

	# while the first is still running, held up by a lock on what it writes
	my $lock = $shop->{node}->background_psql('shop');
	$lock->query_safe(q{BEGIN; SELECT pg_advisory_xact_lock(
		hashtextextended('ecommerce_order.idempotency / busy', 0))});
	try(409, 'order', 'POST', '/orders', $body, 'Idempotency-Key' => 'busy');
	$lock->query_safe('ROLLBACK');
	$lock->quit;
	try(202, 'order', 'POST', '/orders', $body, 'Idempotency-Key' => 'busy');
};

subtest 'an order' => sub {
	my $order = $orders[0];
	my $shown = try(200, 'order', 'GET', "/orders/$order");
	is($shown->{headers}{etag}, "\"$shown->{body}{version}\"", 'the tag is the version');
	is($shown->{body}{total_amount}, 5, 'the total');
	try(304, 'order', 'GET', "/orders/$order", undef, 'If-None-Match' => $_)
	  for $shown->{headers}{etag}, "W/$shown->{headers}{etag}", '"7", "2"', '*';
	try(200, 'order', 'GET', "/orders/$order", undef, 'If-None-Match' => '"1"');
	try(404, 'order', 'GET', "/orders/$_") for $unknown, 'x';
	my @events = pages('order', "/orders/$order/events?");
	is(join(' ', map { $_->{version} } @events), '1 2', 'events in order');
	try(404, 'order', 'GET', "/orders/$unknown/events");
	is(fields(try(422, 'order', 'GET', "/orders/$order/events?after=x&limit=x")), 'after limit',
		'all are named');

	try(412, 'order', 'POST', "/orders/$order/cancel", { reason => 'x' }, 'If-Match' => '"1"');
	is(fields(try(422, 'order', 'POST', "/orders/$order/cancel", {})), 'reason', 'a reason');
	try(400, 'order', 'POST', "/orders/$order/cancel", '');
	try(415, 'order', 'POST', "/orders/$order/cancel", 'x', 'Content-Type' => 'text/plain');
	try(404, 'order', 'POST', "/orders/$unknown/cancel", { reason => 'x' });
	try(202, 'order', 'POST', "/orders/$order/cancel", { reason => 'x' },
		'If-Match' => '"1", "2"');
	$shop->reaches($order, 'Cancelled');
	try(200, 'order', 'POST', "/orders/$order/cancel", { reason => 'again' });
	try(200, 'order', 'GET', "/orders/$order");
};

subtest 'lists of orders' => sub {
	is(join("\n", map { $_->{order_id} } pages('order', "/orders?customer_id=$customer&")),
		$shop->sql('SELECT order_id FROM ecommerce_order.order_summary ORDER BY order_id'),
		'each once');
	is_deeply([ map { $_->{order_id} }
		  pages('order', "/orders?customer_id=$customer&status=Cancelled&") ], [ $orders[0] ],
		'by status');
	is_deeply(try(200, 'order', 'GET', "/orders?customer_id=$unknown")->{body},
		{ items => [], next => undef }, 'none');
	is(fields(try(422, 'order', 'GET', '/orders?customer_id=1&status=Lost&after=2&limit=5000')),
		'after customer_id limit status', 'all are named');
	try(400, 'order', 'GET', '/orders?limit');
};

subtest 'payments, shipments, notifications' => sub {
	my ($payment) = pages('payment', "/payments?order_id=$orders[1]&");
	is_deeply([ @$payment{qw(status amount currency card_type last4_digits)} ],
		[ 'captured', 5, 'USD', 'card', '4242' ], 'a payment');
	is((pages('payment', "/payments?order_id=$orders[0]&"))[0]{status}, 'refunded', 'a refund');
	is(fields(try(422, 'payment', 'GET', '/payments?order_id=x&after=y&limit=z')),
		'after limit order_id', 'all are named');
	try(403, 'payment', 'POST', '/payments/webhook', {});
	try(400, 'payment', 'POST', '/payments/webhook', '{');
	$shop->kill_daemon('payment', 'TERM');
	$shop->{env}{PAYMENTD_WEBHOOK_SECRET} = 'whsec';
	$shop->start('payment');
	try(401, 'payment', 'POST', '/payments/webhook', {});
	require Digest::SHA;
	my $sign = sub { my $now = time; "t=$now,v1=" . Digest::SHA::hmac_sha256_hex("$now.$_[0]",
		'whsec') };
	my $event = { id => 'evt_1', type => 'x' };
	try(200, 'payment', 'POST', '/payments/webhook', $event,
		'Stripe-Signature' => $sign->($shop->encode($event)));
	is(fields(try(422, 'payment', 'POST', '/payments/webhook', {},
		'Stripe-Signature' => $sign->('{}'))), 'id type', 'all are named');

	my ($shipment) = pages('shipping', "/shipments?order_id=$orders[1]&");
	is($shipment->{status}, 'arranged', 'a shipment');
	is(fields(try(422, 'shipping', 'GET', '/shipments?order_id=x&after=y&limit=z')),
		'after limit order_id', 'all are named');
	my $path = "/shipments/$shipment->{shipment_id}";
	try(409, 'shipping', 'POST', "$path/deliver");
	try(200, 'shipping', 'POST', "$path/dispatch", {});
	is(try(200, 'shipping', 'POST', "$path/dispatch")->{body}{status}, 'dispatched', 'a repeat');

	try(200, 'shipping', 'POST', "$path/deliver");
	try(404, 'shipping', 'POST', "/shipments/$unknown/$_") for qw(dispatch deliver);
	my ($cancelled) = pages('shipping', "/shipments?order_id=$orders[0]&");
	try(409, 'shipping', 'POST', "/shipments/$cancelled->{shipment_id}/$_")
	  for qw(dispatch deliver);
	$shop->reaches($orders[1], 'Completed');
	try(409, 'order', 'POST', "/orders/$orders[1]/cancel", { reason => 'late' });

	$shop->until('told', sub { @{ $shop->call('notification', 'GET',
		"/notifications?order_id=$orders[1]")->{body}{items} } == 4 });
	is(join(' ', sort map { $_->{template} }
		pages('notification', "/notifications?order_id=$orders[1]&")),
		'order_confirmed order_delivered order_received order_shipped', 'notifications');
	is(fields(try(422, 'notification', 'GET', '/notifications?order_id=x&after=y&limit=z')),
		'after limit order_id', 'all are named');
};

my %documents;
for my $service (qw(order inventory payment shipping notification))
{
	$documents{$service} = try(200, $service, 'GET', '/openapi.json')->{body};
	try(200, $service, 'GET', $_) for '/health/live', '/health/ready', '/metrics';
	try(404, $service, 'GET', '/nothing');
	is($shop->call($service, 'DELETE', '/health/live')->{headers}{allow}, 'GET, HEAD',
		'405 says what is allowed');
}
my ($input, $output) = ($shop->encode({ documents => \%documents, exchanges => \@exchanges }));
run [ 'node', "$FindBin::RealBin/openapi.mjs" ], '<', \$input, '>', \$output, '2>&1';
is($?, 0, 'everything is as the OpenAPI documents say') or diag $output;
$shop->agrees('in the end');
$shop->stop;
done_testing();
