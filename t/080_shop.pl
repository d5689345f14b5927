# The whole way of an order through real daemons: HTTP in, five services, the saga,
# and every case of the order saga's table that a customer or a provider can cause.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $shop = Shop->new(name => 'shop');
$shop->start;
my $product = $shop->product(1000);

sub on_hand
{
	return (split m{/}, $shop->stock($product))[0];
}

subtest 'from order to delivery' => sub {
	my $before = on_hand();
	my $correlation = Shop::uuid();
	my $posted = $shop->call('order', 'POST', '/orders', $shop->order_body($product, 3),
		'X-Correlation-Id' => $correlation, 'Idempotency-Key' => $correlation);
	is($posted->{status}, 202, 'accepted');
	is($posted->{headers}{'x-correlation-id'}, $correlation, 'correlation id echoed');
	my $order = $posted->{body}{order_id};
	my $confirmed = $shop->reaches($order, 'Confirmed');
	is($confirmed->{status}, 'Confirmed', 'the aggregate agrees');
	ok($confirmed->{confirmation_number}, 'there is a confirmation number');
	cmp_ok($confirmed->{total_amount}, '==', 7.5, 'total');
	is($shop->stock($product), join('/', $before - 3, 0, $before - 3), 'stock taken');
	is($shop->payments($order), 'captured', 'paid');
	is($shop->shipments($order), 'arranged', 'shipment arranged');

	my ($shipment) = map { $_->{shipment_id} }
	  @{ $shop->call('shipping', 'GET', "/shipments?order_id=$order")->{body}{items} };
	is($shop->call('shipping', 'POST', "/shipments/$shipment/deliver")->{status}, 409,
		'not dispatched yet');
	is($shop->call('shipping', 'POST', "/shipments/$shipment/dispatch")->{body}{status},
		'dispatched', 'dispatched');
	is($shop->call('shipping', 'POST', "/shipments/$shipment/deliver")->{body}{status}, 'delivered',
		'delivered');
	my $completed = $shop->reaches($order, 'Completed');
	is($completed->{status}, 'Completed', 'the aggregate agrees');
	is($shop->call('order', 'POST', "/orders/$order/cancel", { reason => 'late' })->{status}, 409,
		'a completed order cannot be cancelled');
	my $events = $shop->call('order', 'GET', "/orders/$order/events")->{body}{items};
	is(join(' ', map { $_->{event_type} } @$events), 'OrderCreated OrderConfirmed OrderCompleted',
		'events');
	is_deeply([ map { $_->{metadata}{correlation_id} } @$events ], [ ($correlation) x 3 ],
		'one correlation id in all of them');
	$shop->until('all notifications', sub {
		my $items = $shop->call('notification', 'GET',
			"/notifications?order_id=$order")->{body}{items};
		join(' ', sort map { "$_->{template}:$_->{status}" } @$items) eq
		  'order_confirmed:sent order_delivered:sent order_received:sent order_shipped:sent';
	});
	like(slurp_file($shop->log_file($_)), qr/Processing message \w+ with correlation $correlation/,
		"the log of $_ has the hop")
	  for qw(inventory payment shipping notification);
};

subtest 'out of stock' => sub {
	my $order = $shop->order($product, 100000);
	my $end = $shop->reaches($order, 'Cancelled');
	is($end->{cancel_reason}, 'OutOfStock', 'reason');
	is($shop->payments($order), '', 'never charged');
};

subtest 'declined for good' => sub {
	my $before = $shop->stock($product);
	my $order = $shop->order($product, 1, token => 'tok_declined');
	my $end = $shop->reaches($order, 'Cancelled');
	is($end->{cancel_reason}, 'card_declined', 'reason');
	is($shop->stock($product), $before, 'stock as before');
};

subtest 'declined once' => sub {
	my $order = $shop->order($product, 1, token => 'tok_retry_once');
	$shop->reaches($order, 'PaymentRetryWait');
	$shop->later('1 minute');
	$shop->reaches($order, 'Confirmed');
	is($shop->payments($order), 'declined captured', 'a second attempt with a new key');
};

subtest 'declined again and again' => sub {
	my $order = $shop->order($product, 1, token => 'tok_retry_always');
	for my $attempt (1 .. 2)
	{
		$shop->until("attempt $attempt declined", sub {
			$shop->payments($order) =~ /^declined(?: declined){@{[ $attempt - 1 ]}}/ });
		$shop->reaches($order, 'PaymentRetryWait');
		$shop->later('1 minute');
	}
	my $end = $shop->reaches($order, 'Cancelled');
	is($end->{cancel_reason}, 'issuer_unavailable', 'reason');
	is($shop->payments($order), 'declined declined declined', 'three attempts');
};

subtest 'no answer, found captured' => sub {
	my $order = $shop->order($product, 1, token => 'tok_unknown');
	$shop->until('payment unknown', sub { $shop->payments($order) eq 'unknown' });
	$shop->reaches_in_time($order, 'Confirmed', 121);
	is($shop->payments($order), 'captured', 'one key, captured once');
};

subtest 'never arrived' => sub {
	my $order = $shop->order($product, 1, token => 'tok_lost');
	$shop->until('payment unknown', sub { $shop->payments($order) eq 'unknown' });
	$shop->reaches_in_time($order, 'Cancelled', 121);
	is($shop->show($order)->{cancel_reason}, 'PaymentUnresolved', 'reason');
	is($shop->payments($order), 'voided', 'voided');
};

subtest 'no carrier' => sub {
	my $before = $shop->stock($product);
	my $order = $shop->order($product, 2, country => 'XX');
	my $end = $shop->reaches($order, 'Cancelled');
	is($end->{cancel_reason}, 'ShippingUnavailable', 'reason');
	ok($end->{refund_id}, 'refund id');
	is($shop->payments($order), 'refunded', 'refunded');
	is($shop->stock($product), $before, 'stock as before');
};

subtest 'carrier busy once' => sub {
	my $order = $shop->order($product, 1, postal_code => '00000');
	$shop->reaches($order, 'ShipmentRetryWait');
	$shop->later('1 minute');
	$shop->reaches($order, 'Confirmed');
};

subtest 'cancelled while paying' => sub {
	my $before = $shop->stock($product);
	my $order = $shop->order($product, 1, token => 'tok_slow');
	$shop->reaches($order, 'ProcessingPayment');
	is($shop->call('order', 'POST', "/orders/$order/cancel",
		{ reason => 'changed my mind' })->{status}, 202,
		'asked for');
	my $end = $shop->reaches($order, 'Cancelled');
	is($end->{cancel_reason}, 'changed my mind', 'reason');
	like($shop->payments($order), qr/^(refunded|voided)$/, 'nothing kept');
	is($shop->stock($product), $before, 'stock as before');
};

subtest 'cancelled when confirmed' => sub {
	my $before = $shop->stock($product);
	my $order = $shop->order($product, 1);
	my $shown = $shop->reaches($order, 'Confirmed');
	is($shop->call('order', 'POST', "/orders/$order/cancel", { reason => 'x' },
		'If-Match' => '"1"')->{status}, 412,
		'a stale version is refused');
	is($shop->call('order', 'POST', "/orders/$order/cancel", { reason => 'too late?' },
			'If-Match' => "\"$shown->{version}\"")->{status}, 202, 'asked for');
	my $end = $shop->reaches($order, 'Cancelled');
	ok($end->{refund_id}, 'refunded');
	is($shop->shipments($order), 'cancelled', 'shipment cancelled');
	is($shop->stock($product), $before, 'stock as before');
};

subtest 'cancelled when dispatched' => sub {
	my $order = $shop->order($product, 1);
	$shop->reaches($order, 'Confirmed');
	my $shipment = $shop->call('shipping', 'GET',
		"/shipments?order_id=$order")->{body}{items}[0]{shipment_id};
	# the wish is on its way when the goods leave
	$shop->sql(q{SELECT message_bus.pause('order')});
	my $cancel = "/orders/$order/cancel";
	is($shop->call('order', 'POST', $cancel, { reason => 'too late' })->{status}, 202,
		'it is not known yet');
	$shop->call('shipping', 'POST', "/shipments/$shipment/dispatch");
	$shop->sql(q{SELECT message_bus.resume('order')});
	$shop->until('rejected', sub {
		($shop->show($order)->{cancellation}{status} // '') eq 'rejected' });
	is($shop->call('order', 'POST', $cancel, { reason => 'again' })->{status}, 409,
		'it is known by now');
	$shop->reaches($order, 'Confirmed');
	$shop->until('the customer is told', sub { $shop->sql("SELECT count(*)
		FROM ecommerce_notification.notification WHERE order_id = '$order'
			AND template = 'cancellation_rejected' AND status = 'sent'") == 1 });
	is($shop->payments($order), 'captured', 'nothing refunded');
};

subtest 'free of charge' => sub {
	my $order = $shop->order($shop->product(1, price => 0), 1, unit_price => 0);
	$shop->reaches($order, 'Confirmed');
	is($shop->payments($order), '', 'no payment');
};

subtest 'tax is a line of every order' => sub {
	my $tax = '/products/' . Shop::uuid();
	my %tax = (sku => 'tax', name => 'Tax');
	is($shop->call('inventory', 'PUT', $tax, { %tax, kind => 'charge',
		price => { percent => 20 } })->{status}, 201, 'a charge');
	my $order = $shop->order($product, 2);
	is($shop->reaches($order, 'Confirmed')->{total_amount}, 6, 'what it costs');
	is($shop->sql("SELECT amount, currency FROM ecommerce_payment.payment
		WHERE order_id = '$order'"), '6.00|USD', 'what was charged');
	is($shop->sql("SELECT jsonb_array_length(items) FROM ecommerce_inventory.reservation
		WHERE order_id = '$order'"), 1, 'nothing is held of what is not kept in stock');
	is($shop->call('inventory', 'PUT', $tax, { %tax, kind => 'extra', price => undef })
		->{status}, 200, 'no charge any more');
};

subtest 'bad requests' => sub {
	my $bad = $shop->call('order', 'POST', '/orders', { items => [ { quantity => 0 } ] });
	is($bad->{status}, 422, 'unprocessable');
	is($bad->{headers}{'content-type'}, 'application/problem+json', 'a problem document');
	my %fields = map { $_->{field} => 1 } @{ $bad->{body}{errors} };
	ok($fields{$_}, "$_ is named")
	  for qw(customer_id items[0].quantity items[0].product_id shipping_address payment_method);
	is($shop->call('order', 'POST', '/orders', '{"a": ')->{status}, 400, 'malformed JSON');
	is($shop->call('order', 'GET', '/orders/nope')->{status}, 404, 'no such order');
	is($shop->call('order', 'GET', '/nothing')->{status}, 404, 'no such path');
	is($shop->call('order', 'PUT', '/orders', {})->{status}, 405, 'no such method');
	is($shop->call('inventory', 'POST', "/products/$product/stock",
		{ delta => -10000000, reason => 'x' })->{status}, 409,
		'stock below zero');

	my $body = $shop->order_body($product, 1);
	my @twice = map { $shop->call('order', 'POST', '/orders', $body,
		'Idempotency-Key' => 'once') } 1 .. 2;
	is($twice[1]{status}, 202, 'a repeat is accepted');
	is($twice[0]{body}{order_id}, $twice[1]{body}{order_id}, 'and gets the first answer');
	$body->{items}[0]{quantity} = 2;
	is($shop->call('order', 'POST', '/orders', $body, 'Idempotency-Key' => 'once')->{status}, 422,
		'another body');
	$shop->reaches($twice[0]{body}{order_id}, 'Confirmed');
	my $etag = $shop->call('order', 'GET', "/orders/$twice[0]{body}{order_id}")->{headers}{etag};
	is($shop->call('order', 'GET', "/orders/$twice[0]{body}{order_id}", undef,
		'If-None-Match' => $etag)->{status},
		304, 'not modified');
};

is($shop->violations, '', 'money, stock and shipments agree');
$shop->stop;
done_testing();
