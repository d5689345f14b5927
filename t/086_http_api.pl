# The HTTP API in detail: conditional requests, idempotency, cursors, every kind of refusal
# with every bad field named. All exchanges are then held against the OpenAPI documents
# that the daemons serve, which are held against OpenAPI's own schema.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use HTTP::Tiny;
use IPC::Run qw(run);
use POSIX ();
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

# The statuses of clients that all at once make a product of their own, each with that sku.
sub race
{
	my ($sku) = @_;
	my (@pids, %statuses);

	pipe my $begin, my $all or die "cannot pipe: $!";
	for my $client (1 .. 6)
	{
		my $path = '/products/' . Shop::uuid();
		my $pid = fork // die "cannot fork: $!";
		if ($pid == 0)
		{
			my $http = HTTP::Tiny->new(timeout => 60);
			close $all;
			sysread $begin, my $nothing, 1;
			POSIX::_exit($http->put("http://127.0.0.1:$shop->{port}{inventory}$path",
				{ headers => { 'Content-Type' => 'application/json',
						$shop->credentials('inventory') },
					content => $shop->encode({ sku => $sku, name => 'Wanted' }) })->{status} - 200);
		}
		push @pids, $pid;
	}
	close $all;
	for my $pid (@pids)
	{
		waitpid $pid, 0;
		$statuses{ 200 + ($? >> 8) }++;
	}
	return join ' ', map { "$statuses{$_} x $_" } sort keys %statuses;
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
my $nothing = Shop::uuid();
my $customer = Shop::uuid();
my $id = Shop::uuid();

subtest 'products' => sub {
	my $price = { amount => 19.99, currency => 'USD' };
	my $new = try(201, 'inventory', 'PUT', "/products/$id", { sku => 'A', name => 'Apple',
		price => { amount => 19.99 } });
	is($new->{headers}{location}, "/products/$id", 'where it is');
	is_deeply($new->{body}, { product_id => $id, sku => 'A', name => 'Apple', kind => 'goods',
		price => $price, on_hand => 0, reserved => 0, available => 0, version => 1 },
		'without stock');
	is_deeply(try(200, 'inventory', 'PUT', "/products/$id", { sku => 'A', name => 'Apple' })
		->{body}{price}, $price, 'the price stays when left out');
	is(fields(try(422, 'inventory', 'PUT', "/products/$id", { sku => 'A', name => 'Apple',
		kind => 'thing', price => { amount => 1.234, currency => 'usd' } })),
		'kind price.amount price.currency', 'all are named');
	is(try(200, 'inventory', 'POST', "/products/$id/stock", { delta => 100, reason => 'delivery' },
		'Idempotency-Key' => 'delivery')->{body}{on_hand}, 100, 'booked once') for 1 .. 2;
	is(fields(try(422, 'inventory', 'POST', "/products/$id/stock", { delta => 1, reason => 'x' },
		'Idempotency-Key' => 'delivery')), 'Idempotency-Key', 'another body');
	is(try(201, 'inventory', 'PUT', "/products/$_->[0]", { sku => 'K', name => 'Kiwi' },
		'Idempotency-Key' => 'kiwi')->{body}{product_id}, $_->[0], $_->[1])
	  for map { [ $unknown, $_ ] } 'made', 'and a repeat is told so again';
	try(412, 'inventory', 'PUT', "/products/$unknown", { sku => 'K', name => 'Kiwi' },
		'If-None-Match' => '*');
	try(412, 'inventory', 'PUT', '/products/' . Shop::uuid(), { sku => 'N', name => 'None' },
		'If-Match' => '*');
	my $seen = try(200, 'inventory', 'GET', "/products/$id")->{headers}{etag};
	try($_, 'inventory', 'PUT', "/products/$id", { sku => 'A', name => 'Apple',
		price => { amount => 2.5 } }, 'If-Match' => $seen) for 200, 412;
	try(412, 'inventory', 'POST', "/products/$id/stock", { delta => 1, reason => 'x' },
		'If-Match' => $seen);
	my $tag = try(200, 'inventory', 'GET', "/products/$id")->{headers}{etag};
	try(304, 'inventory', 'GET', "/products/$id", undef, 'If-None-Match' => $_)
	  for $tag, "W/$tag", "\"x\", $tag", '*';
	try(200, 'inventory', 'GET', "/products/$id", undef, 'If-None-Match' => '"x"');
	try(409, 'inventory', 'PUT', "/products/$unknown", { sku => 'A', name => 'Another' });
	try(200, 'inventory', 'PUT', "/products/$unknown", { sku => 'tax', name => 'Tax',
		kind => 'extra' });
	try(409, 'inventory', 'POST', "/products/$unknown/stock", { delta => 1, reason => 'x' });
	is(fields(try(422, 'inventory', 'PUT', '/products/x', { sku => '' })), 'name product_id sku',
		'all are named');
	is(fields(try(422, 'inventory', 'POST', "/products/$id/stock", { delta => 0.5 })),
		'delta reason', 'all are named');
	is_deeply(try(422, 'inventory', 'POST', "/products/$id/stock", { delta => 10**12,
		reason => 'x' })->{body}{errors}, [ { field => 'delta',
		detail => 'must be a whole number of at most 12 digits' } ], 'whole, but too large');
	try(409, 'inventory', 'POST', "/products/$id/stock", { delta => -101, reason => 'x' });
	try(404, 'inventory', 'POST', "/products/$nothing/stock", { delta => 1, reason => 'x' });
	try(404, 'inventory', 'GET', "/products/$_") for $nothing, 'x';
	try(400, 'inventory', 'PUT', "/products/$id", '{');
	try(415, 'inventory', 'PUT', "/products/$id", 'x', 'Content-Type' => 'text/plain');
	try(201, 'inventory', 'PUT', '/products/' . Shop::uuid(), { sku => "B$_", name => 'x' })
	  for 1 .. 4;
	my %seen = map { $_->{product_id} => 1 } pages('inventory', '/products?');
	is(scalar keys %seen, 6, 'the pages show each product once');
	is(fields(try(422, 'inventory', 'GET', '/products?after=x&limit=0')), 'after limit',
		'all are named');
};

my @orders;
subtest 'one sku, many who want it' => sub {
	is(race("wanted-$_"), '1 x 201 5 x 409', 'one has it, the others are told so') for 1 .. 10;
};

subtest 'orders' => sub {
	my $body = $shop->order_body($id, 2, customer_id => $customer);
	$body->{items}[0]{sku} = 'A';
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
		. 'items[1] payment_method shipping_address', 'all are named');
	# the catalogue says what things cost
	my ($line) = @{ $body->{items} };
	is(fields(try(422, 'order', 'POST', '/orders', { %$body, total_amount => 0.02,
		items => [ { %$line, unit_price => 0.01 }, { %$line, product_id => $nothing },
			{ %$line, product_id => $unknown }, { %$line, sku => 'B' } ] })),
		'items[0].unit_price items[1].product_id items[2].product_id items[2].sku items[3].sku '
		. 'total_amount', 'what is not as in the catalogue');
	my $changed = try(200, 'inventory', 'PUT', "/products/$id", { sku => 'A', name => 'Apple',
		price => { amount => 3 } })->{headers}{etag};
	my $refusal = try(422, 'order', 'POST', '/orders', $body);
	is_deeply($refusal->{body}{errors}, [ { field => 'items[0].unit_price',
		detail => 'is 3 in the catalogue' } ], 'the price has changed since it was read');
	try(200, 'inventory', 'PUT', "/products/$id", { sku => 'A', name => 'Apple',
		price => { amount => 2.5 } }, 'If-Match' => $changed);
	delete @$line{qw(unit_price)};
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
	my $tag = $shown->{headers}{etag};
	like($tag, qr/^"$shown->{body}{version}-/, 'the tag names the version');
	is($shown->{body}{total_amount}, 5, 'the total');
	try(304, 'order', 'GET', "/orders/$order", undef, 'If-None-Match' => $_)
	  for $tag, "W/$tag", "\"7\", $tag", '*';
	try(200, 'order', 'GET', "/orders/$order", undef, 'If-None-Match' => $_) for '"1"', '"2"';
	try(404, 'order', 'GET', "/orders/$_") for $unknown, 'x';
	try(412, 'order', 'POST', "/orders/$order/cancel", { reason => 'x' }, 'If-Match' => "W/$tag");
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
		'If-Match' => '"1", "2"', 'Idempotency-Key' => 'cancel');
	$shop->reaches($order, 'Cancelled');
	try(202, 'order', 'POST', "/orders/$order/cancel", { reason => 'x' },
		'If-Match' => '"1", "2"', 'Idempotency-Key' => 'cancel');
	try(422, 'order', 'POST', '/orders', $shop->order_body($id, 1), 'Idempotency-Key' => 'cancel');
	try(200, 'order', 'POST', "/orders/$order/cancel", { reason => 'again' });
	try(412, 'order', 'POST', "/orders/$order/cancel", { reason => 'x' }, 'If-Match' => $tag);
	try(200, 'order', 'GET', "/orders/$order");
};

subtest 'lists of orders' => sub {
	is(join("\n", map { $_->{order_id} } pages('order', "/orders?customer_id=$customer&")),
		$shop->sql('SELECT order_id FROM ecommerce_order.order_summary ORDER BY position'),
		'each once');
	is_deeply([ map { $_->{order_id} }
		  pages('order', "/orders?customer_id=$customer&status=Cancelled&") ], [ $orders[0] ],
		'by status');
	is_deeply(try(200, 'order', 'GET', "/orders?customer_id=$unknown")->{body},
		{ items => [], next => undef, cursor => '0' }, 'none');
	is(fields(try(422, 'order', 'GET', '/orders?customer_id=1&status=Lost&after=y&limit=5000')),
		'after customer_id limit status', 'all are named');
	try(400, 'order', 'GET', '/orders?limit');
	is(scalar(pages('order', '/orders/events?')), $shop->sql("SELECT count(*)
		FROM event_store.read_all(0, 1000, 'order')"), 'the events of all orders');
	is(fields(try(422, 'order', 'GET', '/orders/events?after=x&limit=0&wait=60')),
		'after limit wait', 'all are named');
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
	my $busy = $shop->{node}->background_psql('shop');
	$busy->query_safe(q{BEGIN; SELECT pg_advisory_xact_lock(
		hashtextextended('ecommerce_payment.idempotency / busy', 0))});
	try(409, 'payment', 'POST', '/payments/webhook', $event, 'Idempotency-Key' => 'busy',
		'Stripe-Signature' => $sign->($shop->encode($event)));
	$busy->query_safe('ROLLBACK');
	$busy->quit;
	try(413, 'payment', 'POST', '/payments/webhook', '{"a": "' . 'x' x 1_048_576 . '"}');
	try(415, 'payment', 'POST', '/payments/webhook', 'x', 'Content-Type' => 'text/plain');
	is(fields(try(422, 'payment', 'POST', '/payments/webhook', {},
		'Stripe-Signature' => $sign->('{}'))), 'id type', 'all are named');

	my ($shipment) = pages('shipping', "/shipments?order_id=$orders[1]&");
	is($shipment->{status}, 'arranged', 'a shipment');
	is(fields(try(422, 'shipping', 'GET', '/shipments?order_id=x&after=y&limit=z')),
		'after limit order_id', 'all are named');
	my $path = "/shipments/$shipment->{shipment_id}";
	my $before = try(200, 'order', 'GET', "/orders/$orders[1]")->{headers}{etag};
	try(409, 'shipping', 'POST', "$path/deliver");
	my @sent = map { try(200, 'shipping', 'POST', "$path/dispatch", {},
		'Idempotency-Key' => 'sent')->{body} } 1 .. 2;
	is_deeply($sent[1], $sent[0], 'a repeat gets the first answer');
	try(422, 'shipping', 'POST', "$path/deliver", undef, 'Idempotency-Key' => 'sent');
	# the stream's version has not changed, what is shown has
	$shop->until('the order knows of the parcel', sub {
		($shop->show($orders[1])->{facts}{shp}{st} // '') eq 'dispatched' });
	try(200, 'order', 'GET', "/orders/$orders[1]", undef, 'If-None-Match' => $before);
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
# What every operation refuses: no key, one of another scope, a malformed query, a parameter
# that it does not know, a body that is too long or no JSON.
for my $service (sort keys %documents)
{
	my $paths = $documents{$service}{paths};
	for my $route (sort keys %$paths)
	{
		for my $method (sort keys %{ $paths->{$route} })
		{
			my $operation = $paths->{$route}{$method};
			my ($verb, $path) = (uc $method, $route =~ s/\{id\}/$nothing/r);
			my %scopes = map { $_ => 1 } map { @{ $_->{key} // [] } } @{ $operation->{security} };
			my ($other) = grep { !$scopes{$_} } qw(customer warehouse operator);
			my $body = $operation->{requestBody} && {};

			next unless %scopes;
			try(401, $service, $verb, $path, $body, 'X-Gateway-Secret' => undef);
			try(403, $service, $verb, $path, $body, 'X-Scope' => $other,
				'X-Customer-Id' => $customer, 'X-User-Id' => $customer) if $other;
			try(400, $service, $verb, "$path?=", $body);
			try(422, $service, $verb, "$path?nothing=1", $body);
			next unless $verb ne 'GET';
			try(413, $service, $verb, $path, '{"a": "' . 'x' x 1_048_576 . '"}');
			try(415, $service, $verb, $path, 'x', 'Content-Type' => 'text/plain') if $body;
		}
	}
}
my ($input, $output) = ($shop->encode({ documents => \%documents, exchanges => \@exchanges }));
run [ 'node', "$FindBin::RealBin/openapi.mjs" ], '<', \$input, '>', \$output, '2>&1';
is($?, 0, 'everything is as the OpenAPI documents say') or diag $output;
$shop->agrees('in the end');
$shop->stop;
done_testing();
