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

subtest 'gone, then back' => sub {
	fresh_breaker();
	kill 'KILL', $stub;
	waitpid $stub, 0;
	my $order = $shop->order($product, 1, token => 'tok_fine');
	$shop->until('declined', sub { $shop->payments($order) =~ /^declined/ });
	is($shop->sql("SELECT DISTINCT error_code FROM ecommerce_payment.payment
		WHERE order_id = '$order' AND status = 'declined'"), 'provider_unavailable',
		'certainly not charged');
	(undef, $stub) = StripeStub::start($port);
	fresh_breaker();
	$shop->until('confirmed or given up', sub {
		$shop->later_in_state($order, 'PaymentRetryWait', '1 minute');
		$shop->show($order)->{state} =~ /^(?:Confirmed|Cancelled)$/;
	});
	# a slow machine may have used up the attempts before it was back
	is(net($order), $shop->show($order)->{state} eq 'Confirmed' ? 250 : 0, 'paid once or not');
};

is($shop->sql(q{SELECT count(*) FROM ecommerce_inventory.reservation r
	WHERE r.status = 'held'}), 0, 'no stock is held');
$shop->stop;
done_testing();
