# What can go wrong beneath a shop: no room on the disk, holds that expire while a payment
# is unknown, everything killed at once. Afterwards all books agree.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Shop;
use Test::More;

my $shop = Shop->new(name => 'failures', env => { ECOMMERCE_WORK_LEASE => '3s',
	ECOMMERCE_POLL_INTERVAL => '100ms' });
$shop->start;
my $product = $shop->product(10000);

# Failures are many here and come in real time: tried again soon, by no breaker held up.
$shop->sql(q{SELECT message_bus.alter_endpoint(name, breaker => '{"kind": "none"}',
	retry => '{"kind": "interval", "limit": 10000, "interval": "100 ms"}')
	FROM message_bus.endpoints});
$shop->sql(q{CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
	END $$});

# Makes writes of that kind to a table fail until disk_has_room.
sub disk_full
{
	my ($table, $what) = @_;
	$shop->sql("CREATE TRIGGER disk_full BEFORE $what ON $table FOR EACH ROW
		EXECUTE FUNCTION disk_full()");
	return;
}

sub disk_has_room
{
	my ($table) = @_;
	$shop->sql("DROP TRIGGER disk_full ON $table");
	return;
}

# Whether a daemon has met the full disk since the last call.
my %read;

sub has_met_it
{
	my ($service) = @_;
	return $shop->until("$service meets the full disk", sub {
		open my $log, '<', $shop->log_file($service) or return 0;
		seek $log, $read{$service} // 0, 0;
		my @lines = <$log>;
		$read{$service} = tell $log;
		return grep { /"SqlState":"53100"/ } @lines;
	});
}

subtest 'no room for an order' => sub {
	disk_full('ecommerce_order.idempotency', 'INSERT');
	my $body = $shop->order_body($product, 1);
	my $refused = $shop->call('order', 'POST', '/orders', $body, 'Idempotency-Key' => 'full');
	is($refused->{status}, 503, 'refused');
	is($refused->{headers}{'retry-after'}, 1, 'the client may come back');
	is($refused->{headers}{'content-type'}, 'application/problem+json', 'a problem document');
	unlike($refused->{body}{detail}, qr/extend file/, 'that tells nothing of the inside');
	disk_has_room('ecommerce_order.idempotency');
	my $accepted = $shop->call('order', 'POST', '/orders', $body, 'Idempotency-Key' => 'full');
	is($accepted->{status}, 202, 'the same request later');
	$shop->reaches($accepted->{body}{order_id}, 'Confirmed');
};

for my $case (
	[ 'payment', 'ecommerce_payment.payment', 'INSERT' ],
	[ 'payment', 'ecommerce_payment.payment', 'UPDATE' ],
	[ 'shipping', 'ecommerce_shipping.shipment', 'INSERT' ],
	[ 'shipping', 'ecommerce_shipping.shipment', 'UPDATE' ],
	[ 'notification', 'ecommerce_notification.notification', 'INSERT OR UPDATE' ])
{
	my ($service, $table, $what) = @$case;
	subtest "no room: $what of $table" => sub {
		disk_full($table, $what);
		my $order = $shop->order($product, 2);
		has_met_it($service);
		is($shop->call($service, 'GET', '/health/live')->{status}, 200, 'the daemon goes on');
		disk_has_room($table);
		$shop->reaches($order, 'Confirmed');
	};
}

# The charge has been made and its outcome cannot be written down.
subtest 'no room for an outcome' => sub {
	$shop->sql(q{CREATE TRIGGER disk_full BEFORE UPDATE ON ecommerce_payment.payment FOR EACH ROW
		WHEN (NEW.status = 'captured') EXECUTE FUNCTION disk_full()});
	my $order = $shop->order($product, 2);
	$shop->until('charged', sub { $shop->sql("SELECT count(*)
		FROM ecommerce_payment.simulator_charge WHERE order_id = '$order'") == 1 });
	disk_has_room('ecommerce_payment.payment');
	$shop->reaches($order, 'Confirmed');
};

# A hold that is lost while nobody knows whether the customer has paid.
sub lose_hold
{
	my ($order, $more) = @_;
	$shop->until('payment unknown', sub { $shop->payments($order) eq 'unknown' });
	$shop->sql("BEGIN;
		UPDATE ecommerce_inventory.reservation SET expires_at = now() WHERE order_id = '$order';
		SELECT ecommerce_inventory.expire_holds(); $more; COMMIT");
	$shop->until('the saga has heard of it', sub {
		grep { $_->{event} eq 'ReservationExpired' } @{ $shop->show($order)->{timeline} } });
	return;
}

subtest 'a hold expires, stock is left' => sub {
	my $few = $shop->product(5);
	my $order = $shop->order($few, 2, token => 'tok_unknown');
	lose_hold($order, '');
	$shop->reaches_in_time($order, 'Confirmed', 121);
	is($shop->stock($few), '3/0/3', 'reserved again and taken');
	is($shop->payments($order), 'captured', 'paid');
};

subtest 'a hold expires, no stock is left' => sub {
	my $few = $shop->product(2);
	my $order = $shop->order($few, 2, token => 'tok_unknown');
	lose_hold($order, qq{SELECT ecommerce_inventory.adjust_stock('$few',
		'{"delta": -2, "reason": "broken"}')});
	my $end = $shop->reaches($order, 'Cancelled');
	is($end->{cancel_reason}, 'ReservationExpired', 'reason');
	$shop->until('paid back', sub { $shop->payments($order) =~ /^(?:voided|refunded)$/ });
	is($shop->stock($few), '0/0/0', 'stock');
};

subtest 'everything is killed at once' => sub {
	my %orders;
	for my $n (1 .. 60)
	{
		my $body = $shop->order_body($product, 1, token => (qw(tok_ok tok_slow))[ $n % 2 ]);
		my $reply = $shop->until("order $n accepted", sub {
			my $reply = $shop->call('order', 'POST', '/orders', $body,
				'Idempotency-Key' => "all-$n");
			$reply->{status} == 202 && $reply;
		});
		$orders{ $reply->{body}{order_id} } = 1;
		next if $n % 20;
		$shop->kill_daemon($_, 'KILL') for sort keys %{ $shop->{pid} };
		$shop->{node}->stop('immediate');
		$shop->{node}->start;
		$shop->start;
	}
	is(scalar keys %orders, 60, 'each order is one order');
	my $seconds = 121;
	$shop->until('all settled', sub {
		$shop->later_when_waiting($seconds++ . ' seconds');
		$shop->sql(q{SELECT count(*) FROM ecommerce_order.order_summary
			WHERE status = 'Created'}) == 0;
	});
};

$shop->agrees('in the end');
is($shop->sql(q{SELECT message_type, error FROM message_bus.dead_letters}), '', 'no dead letters');
$shop->stop;
done_testing();
