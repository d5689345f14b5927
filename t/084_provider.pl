# A payment provider that misbehaves: cut, wrong, huge and missing answers, one that is
# slow under load, one that is gone. Whatever it does, an order ends confirmed and paid
# once, or cancelled and not paid.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use POSIX ();
use Shop;
use StripeStub;
use Test::More;

my ($port, $stub) = StripeStub::start();
my $shop = Shop->new(name => 'provider', env => { PAYMENTD_PROVIDER => 'stripe',
	PAYMENTD_STRIPE_URL => "http://127.0.0.1:$port", PAYMENTD_STRIPE_SECRET_KEY => 'sk_test',
	PAYMENTD_PROVIDER_TIMEOUT => '1s', ECOMMERCE_POLL_INTERVAL => '100ms' });
$shop->start;
my $product = $shop->product(1000);

END
{
	kill 'KILL', $stub if $stub;
}

# Failures open the circuit breaker, which is not what most of this is about.
sub fresh_breaker
{
	$shop->kill_daemon('payment', 'TERM');
	$shop->start('payment');
	return;
}

sub charges
{
	my ($order) = @_;
	my $ledger = $shop->call($port, 'GET', '/ledger')->{body}{charges};
	return grep { !defined $order || $_->{order_id} eq $order } @$ledger;
}

# What was taken and not given back, in cents.
sub net
{
	my ($order) = @_;
	my $sum = 0;
	$sum += $_->{amount} for grep { $_->{captured} && !$_->{refunded} } charges($order);
	return $sum;
}

for my $case (
	[ 'tok_fine', 'Confirmed', 121 ], [ 'tok_authorize_cut', 'Confirmed', 121 ],
	[ 'tok_authorize_html', 'Confirmed', 121 ], [ 'tok_authorize_hangup', 'Confirmed', 121 ],
	[ 'tok_authorize_huge', 'Confirmed', 121 ], [ 'tok_capture_cut', 'Confirmed', 121 ],
	[ 'tok_capture_failed', 'Confirmed', 121 ], [ 'tok_capture_silent', 'Confirmed', 121 ],
	[ 'tok_capture_less', 'Cancelled', 1900 ], [ 'tok_authorize_lost', 'Confirmed', 121 ])
{
	my ($token, $end, $seconds) = @$case;
	subtest $token => sub {
		fresh_breaker();
		my $order = $shop->order($product, 2, token => $token);
		$shop->until('an outcome', sub { $shop->payments($order) =~ /unknown|captured/ });
		$shop->until("$token ends $end", sub {
			# a request that was sent long ago no longer arrives
			$shop->sql("UPDATE ecommerce_payment.payment SET charge_begun_at
				= least(charge_begun_at, now() - interval '2 minutes') WHERE order_id = '$order'");
			$shop->later_in_state($order, 'ProcessingPayment|ResolvingPayment',
				$seconds++ . ' seconds');
			$shop->show($order)->{state} eq $end;
		});
		is(net($order), $end eq 'Confirmed' ? 500 : 0, 'paid to the cent');
		cmp_ok(scalar(charges($order)), '<=', 1, 'one charge at most');
	};
}

subtest 'refunds fail at first' => sub {
	fresh_breaker();
	my $order = $shop->order($product, 1, token => 'tok_refund_failed');
	$shop->reaches($order, 'Confirmed');
	is($shop->call('order', 'POST', "/orders/$order/cancel", { reason => 'test' })->{status}, 202,
		'cancelled');
	$shop->reaches($order, 'Cancelled');
	is(net($order), 0, 'paid back');
	is((charges($order))[0]{refunded}, 1, 'once');
};

subtest 'slow under load' => sub {
	fresh_breaker();
	my @orders = map { $shop->order($product, 1, token => 'tok_slow') } 1 .. 60;
	is($shop->call('payment', 'GET', '/health/ready')->{status}, 200, 'the daemon is not held up');
	is($shop->call('payment', 'GET', "/payments?order_id=$orders[0]")->{status}, 200,
		'and answers');
	$shop->reaches($_, 'Confirmed') for @orders;
	is(scalar(grep { net($_) != 250 } @orders), 0, 'all are paid once');
};

# Every order waits, the breaker open or not, and is charged when the provider is back.
subtest 'gone, then back' => sub {
	fresh_breaker();
	kill 'KILL', $stub;
	waitpid $stub, 0;
	my @orders = map { $shop->order($product, 1, token => 'tok_fine') } 1 .. 15;
	$shop->until('the breaker opens', sub { $shop->call('payment', 'GET', '/metrics')->{body}
		=~ /^outside_breaker_state\{[^}]*stripe[^}]*\} 1$/m });
	my $ready = $shop->call('payment', 'GET', '/health/ready');
	is($ready->{status}, 200, 'the daemon takes work all the same');
	is($ready->{body}{status}, 'degraded', 'and says what is the matter');
	is($ready->{body}{checks}{provider}{status}, 'circuit breaker is open', 'with the provider');
	push @orders, map { $shop->order($product, 1, token => 'tok_fine') } 1 .. 5;
	$shop->until('all have asked', sub { $shop->sql(q{SELECT count(*)
		FROM ecommerce_payment.payment WHERE status = 'pending' AND operation = 'charge'}) == 20 });
	is($shop->sql(q{SELECT count(*) FROM ecommerce_payment.payment WHERE status = 'declined'
		AND error_code = 'provider_unavailable'}), 0, 'nobody was declined');
	# longer than the saga waits for an answer, and than an order may take
	$shop->later_in_state($_, 'ProcessingPayment|ResolvingPayment', '3 minutes') for @orders;
	$shop->until('they are told to wait', sub { $shop->sql(q{SELECT count(*) FROM saga.instances i
		WHERE i.data @? '$.pay[*] ? (@.st == "waiting")'}) == 20 });
	is($shop->sql(q{SELECT count(*) FROM ecommerce_inventory.reservation
		WHERE status = 'held'}), 20, 'and keep their hold');
	(undef, $stub) = StripeStub::start($port);
	$shop->sql(q{UPDATE ecommerce_payment.payment SET due_at = now()
		WHERE operation IS NOT NULL});
	fresh_breaker();
	$shop->reaches($_, 'Confirmed') for @orders;
	is(scalar(grep { net($_) != 250 } @orders), 0, 'all are paid once');
};

# One card's error is not the provider's, and no reason to refuse the others.
subtest 'some fail' => sub {
	fresh_breaker();
	my @bad = map { $shop->order($product, 1, token => 'tok_authorize_error') } 1 .. 3;
	$shop->until('they have failed', sub { $shop->sql(q{SELECT count(*)
		FROM ecommerce_payment.payment WHERE token = 'tok_authorize_error'
			AND status = 'unknown'}) == 3 });
	my @good = map { $shop->order($product, 1, token => 'tok_fine') } 1 .. 12;
	$shop->reaches($_, 'Confirmed') for @good;
	is(scalar(grep { net($_) != 250 } @good), 0, 'all the others are paid once');
	for my $order (@bad)
	{
		$shop->call('order', 'POST', "/orders/$order/cancel", { reason => 'test' });
		$shop->until('cancelled', sub {
			$shop->sql("UPDATE ecommerce_payment.payment SET charge_begun_at
				= least(charge_begun_at, now() - interval '5 minutes'), due_at = now()
				WHERE order_id = '$order'");
			$shop->show($order)->{state} eq 'Cancelled';
		});
		is(net($order), 0, 'and nothing is kept of these');
	}
};

is($shop->sql(q{SELECT count(*) FROM ecommerce_inventory.reservation r
	WHERE r.status = 'held'}), 0, 'no stock is held');
$shop->stop;
done_testing();
