# Money that moves on its own: while orders come in, are cancelled, dispatched and delivered,
# the provider refunds, has disputes that are won, lost or left open, lets refunds wait and
# fail, and is away from time to time; its webhooks come in any order, twice. Daemons are
# killed meanwhile, and the server. In the end the provider, the payments, orders, stock,
# parcels and mails agree, or somebody is told. SHOP_SEED takes another course, SHOP_ROUNDS a
# longer one; with SHOP_DATABASES=five it goes through five databases, whose carriers are
# killed meanwhile.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(shuffle);
use Shop;
use StripeStub;
use Test::More;

use constant ROUNDS => $ENV{SHOP_ROUNDS} // 8;
use constant ORDERS => 10;

my $seed = $ENV{SHOP_SEED} // 20111209;
srand $seed;
note "SHOP_SEED=$seed";

my ($port, $stub) = StripeStub::start();
my $shop = Shop->new(name => 'reconciliation', env => { PAYMENTD_PROVIDER => 'stripe',
	PAYMENTD_STRIPE_URL => "http://127.0.0.1:$port", PAYMENTD_STRIPE_SECRET_KEY => 'sk_test',
	PAYMENTD_WEBHOOK_SECRET => 'whsec', PAYMENTD_PROVIDER_TIMEOUT => '2s',
	# what a killed daemon had claimed is taken up soon
	ECOMMERCE_WORK_LEASE => '3s', ECOMMERCE_POLL_INTERVAL => '100ms' });
my @tokens = qw(tok_fine tok_fine tok_fine tok_refund_pending tok_capture_failed);
my (@orders, @outstanding);
my $heard = 0;

END
{
	kill 'KILL', $stub if $stub;
}

$shop->start;
my $product = $shop->product(10000);

sub stub
{
	my ($deed, %form) = @_;
	my $body = join '&', map { "$_=$form{$_}" } sort keys %form;
	return $shop->call($port, 'POST', "/stub/$deed", $body)->{body};
}

sub charges
{
	return @{ $shop->call($port, 'GET', '/ledger')->{body}{charges} };
}

# Webhooks: what is new twice, some of it now and the rest another time, shuffled.
sub deliver
{
	my ($all) = @_;
	my @events = @{ stub('events')->{events} };

	push @outstanding, (@events[ $heard .. $#events ]) x 2;
	$heard = @events;
	@outstanding = shuffle @outstanding;
	my $n = $all ? @outstanding : int @outstanding / 2;
	for my $event (splice @outstanding, 0, $n)
	{
		my ($now, $body) = (time, $shop->encode($event));
		my $reply = $shop->call('payment', 'POST', '/payments/webhook', $body, 'Stripe-Signature' =>
			"t=$now,v1=" . hmac_sha256_hex("$now.$body", 'whsec'));
		push @outstanding, $event if $reply->{status} != 200;
	}
	return @outstanding == 0;
}

# What happens at the provider, to some charges of those there are.
sub provider_acts
{
	my @captured = shuffle grep { $_->{captured} && !$_->{refunded} } charges();
	my %deeds = (refund => 2, dispute => 3);

	for my $deed (sort keys %deeds)
	{
		stub($deed, charge => $_->{id}) for splice @captured, 0, $deeds{$deed};
	}
	for my $charge (grep { ($_->{dispute} // '') eq 'needs_response' } charges())
	{
		my $deed = (qw(win lose none))[ rand 3 ];
		stub($deed, charge => $charge->{id}) if $deed ne 'none';
	}
	settle_refunds();
	return;
}

sub settle_refunds
{
	for my $charge (grep { $_->{refunds} && $_->{refunds}[-1]{status} eq 'pending' } charges())
	{
		stub((qw(settle settle fail))[ rand 3 ], charge => $charge->{id});
	}
	return;
}

# What people do with some of the orders.
sub people_act
{
	my @some = shuffle @orders;

	$shop->call('order', 'POST', "/orders/$_/cancel", { reason => 'test' }) for splice @some, 0, 3;
	for my $order (splice @some, 0, 6)
	{
		my ($shipment) = @{ $shop->call('shipping', 'GET', "/shipments?order_id=$order")
			->{body}{items} };
		next unless $shipment;
		$shop->call('shipping', 'POST', "/shipments/$shipment->{shipment_id}/$_")
		  for rand() < 0.5 ? 'dispatch' : qw(dispatch deliver);
	}
	return;
}

# What the payments wait with for a while is done now.
sub hurry
{
	$shop->sql_at('payment', q{UPDATE ecommerce_payment.payment SET due_at = now()
			WHERE operation IS NOT NULL AND lease_until IS NULL;
		UPDATE ecommerce_payment.payment SET charge_begun_at
			= least(charge_begun_at, now() - interval '5 minutes') WHERE status = 'unknown'});
	return;
}

# A daemon dies in the middle of its work; once the server does.
sub kill_some
{
	my ($round) = @_;
	my $victim = (qw(payment payment shipping inventory notification order))[ rand 6 ];

	$shop->kill_daemon($victim, 'KILL');
	if ($round == int(ROUNDS / 2))
	{
		$shop->{node}->stop('immediate');
		$shop->{node}->start;
	}
	$shop->start($victim);
	for my $service (qw(order payment shipping))
	{
		$shop->until("$service is ready again",
			sub { $shop->call($service, 'GET', '/health/ready')->{status} == 200 });
	}
	return;
}

for my $round (1 .. ROUNDS)
{
	stub('away') if $round % 3 == 0;
	push @orders, $shop->order($product, 1, token => $tokens[ rand @tokens ]) for 1 .. ORDERS;
	deliver(0);
	$shop->until('half of them get on', sub {
		hurry();
		$shop->sql(q{SELECT count(*) FROM saga.instances
			WHERE current_state ~ 'Inventory|Processing'}) < ORDERS;
	}) if $round % 3;
	provider_acts();
	kill_some($round);
	people_act();
	for my $carrier ((shuffle $shop->carriers)[ 0 .. 2 ])
	{
		next unless $carrier;
		$shop->kill_daemon($carrier, 'KILL');
		$shop->start($carrier);
	}
	deliver(0);
	stub('back');
}

# Time passes until nothing is left to be done.
my $seconds = 121;
$shop->until('all settled', sub {
	settle_refunds();
	my $told = deliver(1);
	hurry();
	$shop->later_when_waiting($seconds++ . ' seconds');
	$told && @{ stub('events')->{events} } == $heard && $shop->under_way == 0 && $shop->sql(q{
		SELECT (SELECT count(*) FROM saga.instances WHERE current_state
				!~ '^(Confirmed|Completed|Cancelled|Unpaid|CompensationStuck)$')
			+ (SELECT count(*) FROM ecommerce_payment.payment WHERE operation IS NOT NULL)
			+ (SELECT count(*) FROM ecommerce_notification.notification WHERE status = 'pending')})
		== 0;
});

# The provider's ledger beside the payments.
my %status = map { split / /, $_, 2 } split /\n/,
  $shop->sql(q{SELECT key || ' ' || status FROM ecommerce_payment.payment});
my (@differ, %kept);
for my $charge (charges())
{
	my $there = ($charge->{dispute} // '') eq 'needs_response' ? 'disputed'
	  : ($charge->{dispute} // '') eq 'lost' ? 'refunded'
	  : !$charge->{captured} ? 'no money' : $charge->{refunded} ? 'refunded' : 'captured';
	my $here = $status{ $charge->{key} };
	$here = 'no money' if $there eq 'no money' && $here =~ /^(?:voided|declined)$/;
	push @differ, "$charge->{id} $charge->{key}: $there there, $here here" if $there ne $here;
	$kept{ $charge->{order_id} }++ if $there eq 'captured';
}
is("@differ", '', 'the provider and the payments agree');

my %states = map { split / /, $_, 2 } split /\n/, $shop->sql(
	q{SELECT correlation_id || ' ' || current_state FROM saga.instances WHERE saga = 'order'});
my %stuck = map { $_ => 1 } split /\n/, $shop->sql('SELECT correlation_id FROM saga.stuck');
my @wrong = grep {
	my ($state, $money) = ($states{$_}, $kept{$_} // 0);
	!($state =~ /^(?:Confirmed|Completed)$/ && $money == 1
		|| $state eq 'Cancelled' && $money == 0 || $stuck{$_});
} @orders;
is(join(' ', map { "$_ $states{$_} " . ($kept{$_} // 0) } @wrong), '',
	'an order is paid, or cancelled and not paid, or somebody is told');
my @unpaid_stuck = grep { $states{$_} eq 'Unpaid' && !$stuck{$_} } @orders;
is("@unpaid_stuck", '', 'what was sent and is not paid is always told');

is($shop->sql(q{
	SELECT 'holds stock', o.order_id FROM ecommerce_order.order_summary o
	JOIN ecommerce_inventory.reservation r USING (order_id)
	WHERE o.status = 'Cancelled' AND r.status IN ('held', 'committed')
	UNION ALL SELECT 'is sent', o.order_id FROM ecommerce_order.order_summary o
	JOIN ecommerce_shipping.shipment s USING (order_id)
	WHERE o.status = 'Cancelled'
		AND s.status IN ('requested', 'arranged', 'dispatched', 'delivered')
	UNION ALL SELECT 'is not sent', o.order_id FROM ecommerce_order.order_summary o
	WHERE o.status = 'Completed' AND NOT EXISTS (SELECT FROM ecommerce_shipping.shipment s
		WHERE s.order_id = o.order_id AND s.status = 'delivered')}), '',
	'orders, stock and parcels agree');
is($shop->sql(q{
	SELECT 'mail was not sent', n.template, n.reason FROM ecommerce_notification.notification n
	WHERE n.status <> 'sent'
	UNION ALL SELECT 'told twice or not at all', o.order_id::text, count(n.key)::text
	FROM ecommerce_order.order_summary o LEFT JOIN ecommerce_notification.notification n
		ON n.order_id = o.order_id AND n.template = 'order_cancelled'
	GROUP BY o.order_id, o.status HAVING count(n.key) <> (o.status = 'Cancelled')::int
	UNION ALL SELECT 'told of the wrong thing', n.order_id::text, n.data ->> 'outcome'
	FROM ecommerce_notification.notification n WHERE n.template = 'order_cancelled'
		AND (n.data ->> 'outcome' IN ('refunded', 'returned')) <> EXISTS (
			SELECT FROM ecommerce_payment.payment p WHERE p.order_id = n.order_id
				AND p.transaction_id IS NOT NULL)}), '',
	'each customer was told what has happened');
note($shop->sql(q{SELECT current_state, count(*) FROM saga.instances GROUP BY 1 ORDER BY 1}));
is($shop->dead_letters, '', 'no dead letters');
$shop->stop;
done_testing();
