# Stripe, a mail server and a collector stand in for the real ones: what the services
# send must be to their liking. STAND_INS has their addresses; see stand_ins.mjs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use Shop;
use Test::More;

my $stand_ins = decode_json($ENV{STAND_INS});
my $shop = Shop->new(
	name => 'stand_ins',
	env => {
		PAYMENTD_PROVIDER => 'stripe', PAYMENTD_STRIPE_URL => $stand_ins->{stripe},
		PAYMENTD_STRIPE_SECRET_KEY => 'sk_test_1', PAYMENTD_WEBHOOK_SECRET => 'whsec_test',
		NOTIFICATIOND_SINK => 'smtp', NOTIFICATIOND_SMTP_URL => $stand_ins->{smtp},
		OTEL_EXPORTER_OTLP_ENDPOINT => $stand_ins->{otlp}
	});
$shop->start;
$shop->start_gateway("$FindBin::RealBin/gateway/render");
my $product = $shop->product(100);

sub payment_column
{
	my ($order, $columns) = @_;
	return $shop->sql("SELECT $columns FROM ecommerce_payment.payment WHERE order_id = '$order'");
}

sub has_span
{
	my ($spans, $name) = @_;
	return ok((grep { $_->{name} eq $name } @$spans), "span $name");
}

subtest 'Stripe: authorize, capture, refund, decline' => sub {
	my $order = $shop->order($product, 2, token => 'tok_visa');
	$shop->reaches($order, 'Confirmed');
	like(payment_column($order, 'transaction_id'), qr/^ch_/,
		'charged at Stripe');
	$shop->call('order', 'POST', "/orders/$order/cancel", { reason => 'test' });
	like($shop->reaches($order, 'Cancelled')->{refund_id}, qr/^re_/, 'refunded at Stripe');
	my $declined = $shop->order($product, 1, token => 'tok_chargeDeclinedInsufficientFunds');
	is($shop->reaches($declined, 'Cancelled')->{cancel_reason}, 'insufficient_funds',
		'decline code as reason');
	my $passing = $shop->order($product, 1, token => 'tok_chargeDeclinedProcessingError');
	$shop->reaches($passing, 'PaymentRetryWait');
};

subtest 'webhooks' => sub {
	my $order = $shop->order($product, 1, token => 'tok_visa');
	$shop->reaches($order, 'Confirmed');
	my ($key, $charge) = split /\|/,
	  payment_column($order, 'key, transaction_id');
	my $event = encode_json({ id => 'evt_1', type => 'charge.refunded',
		data => { object => { id => $charge,
		metadata => { key => $key }, refunds => { data => [ { id => 're_hook' } ] } } } });
	my $signature = $shop->call($stand_ins->{control}, 'POST', '/signature', $event)->{body};
	my $send = sub { $shop->call('payment', 'POST', '/payments/webhook', $_[0],
		'Stripe-Signature' => $_[1])->{status} };
	is($send->($event, 't=1,v1=00'), 401, 'a wrong signature is refused');
	is($send->("$event ", $signature), 401, 'so is another body');
	is($shop->payments($order), 'captured', 'and changes nothing');
	is($send->($event, $signature), 200, 'the official library\'s signature is taken');
	is($send->($event, $signature), 200, 'a repeat is acknowledged');
	is($shop->payments($order), 'refunded', 'and took effect');
};

subtest 'mail' => sub {
	my $address = 'ann+' . Shop::uuid() . '@shop.example.com';
	my $reply = $shop->call('order', 'POST', '/orders', $shop->order_body($product, 1,
		token => 'tok_visa', email => $address));
	my $order = $reply->{body}{order_id};
	my $mails = $shop->until('two mails', sub {
		my @mails = grep { $_->{to}[0]{address} eq $address }
		  @{ $shop->call($stand_ins->{mail}, 'GET', '/email')->{body} };
		@mails >= 2 && \@mails;
	});
	my ($received) = grep { $_->{subject} eq "We have received your order $order" } @$mails;
	ok($received, 'subject');
	like($received->{html}, qr/Thank you for your order/, 'body');
	is($received->{from}[0]{address}, 'shop@example.com', 'sender');
};

subtest 'one trace through everything' => sub {
	my $trace = 'abcdef0123456789abcdef0123456789';
	my $reply = $shop->call('gateway', 'POST', '/orders',
		$shop->order_body($product, 1, token => 'tok_visa'),
		traceparent => "00-$trace-00f067aa0ba902b7-01");
	$shop->reaches($reply->{body}{order_id}, 'Confirmed');
	my $wanted = 'InventoryService NotificationService OrderService PaymentService ShippingService';
	my @names = (qw(ReserveInventory ProcessPayment ArrangeShipment SendNotification
	  charge stripe smtp ecommerce_order.submit_order), 'POST /orders');
	# Each service sends what it has from time to time, one span sooner than another.
	my $spans = $shop->until('spans of all services', sub {
		my @spans = grep { $_->{traceId} eq $trace } @{ $shop->call($stand_ins->{control}, 'GET',
			'/spans')->{body} };
		my %services = map { $_->{service} => 1 } @spans;
		my %found = map { $_->{name} => 1 } @spans;
		join(' ', sort keys %services) eq $wanted && !(grep { !$found{$_} } @names) && \@spans;
	});
	my ($server) = grep { $_->{name} eq 'POST /orders' } @$spans;
	is($server->{parentSpanId}, '00f067aa0ba902b7', 'the request is a child of the client\'s span');
	ok((grep { $_->{name} eq 'ecommerce_order.submit_order' && $_->{parentSpanId}
		eq $server->{spanId} } @$spans),
		'its SQL is a child of the request');
	has_span($spans, $_) for @names;
	$shop->until('log records of all services', sub {
		my $logs = $shop->call($stand_ins->{control}, 'GET', '/logs')->{body};
		!grep { !$logs->{$_} } split / /, $wanted;
	});
};

subtest 'metrics are what Prometheus reads' => sub {
	for my $service (qw(order inventory payment shipping notification))
	{
		my $metrics = $shop->call($service, 'GET', '/metrics')->{body};
		open my $promtool, '|-', 'promtool', 'check', 'metrics' or die "cannot run promtool: $!";
		print $promtool $metrics;
		close $promtool;
		is($?, 0, $service);
	}
};

# Its failures open the breaker, so it comes late.
subtest 'Stripe does not answer properly: asked, not charged again' => sub {
	my $order = $shop->order($product, 1, token => 'tok_unheard_of');
	$shop->until('unknown', sub { $shop->payments($order) eq 'unknown' });
	is(payment_column($order, 'operation IS NULL'), 't',
		'nothing is tried until the saga asks');
};

subtest 'a provider that is gone' => sub {
	$shop->kill_daemon('payment', 'TERM');
	$shop->{env}{PAYMENTD_STRIPE_URL} = 'http://127.0.0.1:1';
	$shop->start('payment');
	is($shop->call('payment', 'GET', '/health/ready')->{body}{checks}{provider}{status}, 'ok',
		'nobody has asked it yet');
	my $order = $shop->order($product, 1, token => 'tok_visa');
	$shop->until('it waits', sub { $shop->payments($order) eq 'pending'
		&& payment_column($order, 'attempts') > 1 });
	is($shop->show($order)->{state}, 'ProcessingPayment', 'certainly not charged, and no decline');
};

$shop->stop_gateway;
$shop->stop;
done_testing();
