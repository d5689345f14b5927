# Daemons and the server are killed again and again while orders come in. In the end
# every order has settled, nobody was charged twice, and the books agree. SHOP_ORDERS: how
# many; SHOP_DATABASES=five: in five databases on three servers, where the programs that carry
# between them are killed too.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

use constant ORDERS => $ENV{SHOP_ORDERS} // 120;

# A short lease, so that what a killed daemon had claimed is taken up soon.
my $shop = Shop->new(name => 'chaos', env => { ECOMMERCE_WORK_LEASE => '1s',
	ECOMMERCE_POLL_INTERVAL => '200ms' });
$shop->start;
my $product = $shop->product(100000);
my @tokens = qw(tok_ok tok_ok tok_ok tok_slow tok_declined tok_retry_once);
my %orders;

# The same key until there is an answer, as a careful client does.
sub post_surely
{
	my ($n) = @_;
	my $body = $shop->order_body($product, 1 + $n % 3, token => $tokens[ $n % @tokens ],
		postal_code => $n % 7 ? '12345' : '00000', country => $n % 11 ? 'DE' : 'XX');
	my $reply = $shop->until("order $n accepted", sub {
		my $reply = $shop->call('order', 'POST', '/orders', $body, 'Idempotency-Key' => "chaos-$n");
		$reply->{status} == 202 && $reply;
	});
	$orders{ $reply->{body}{order_id} }++;
	return;
}

my @victims = (qw(payment inventory shipping notification payment order inventory payment),
	$shop->carriers);
my $every = $shop->carriers ? 4 : 12;
for my $n (1 .. ORDERS)
{
	post_surely($n);
	if ($n % $every == 0)
	{
		my $victim = $victims[ ($n / $every - 1) % @victims ];
		$shop->kill_daemon($victim, 'KILL');
		$shop->start($victim);
	}
	if ($n % 40 == 10)
	{
		my $server = $shop->{nodes}[ int($n / 40) % @{ $shop->{nodes} } ];
		$server->stop('immediate');
		$server->start;
	}
}
is(scalar keys %orders, ORDERS, 'each order is one order, however often it was posted');

# Time passes until nothing is left to be done.
my $seconds = 0;
$shop->until('all settled', sub {
	$shop->later(($seconds += 5) . ' seconds') if $seconds < 1200;
	$shop->sql(q{SELECT count(*) FROM ecommerce_order.order_summary s,
		saga.get('order', s.order_id) i
		WHERE i.current_state IS NULL OR i.current_state NOT IN ('Confirmed', 'Cancelled')}) == 0;
});
is($shop->sql('SELECT count(*) FROM ecommerce_order.order_summary'), ORDERS,
	'no order lost or doubled');
$shop->until('nothing is under way', sub { $shop->under_way == 0 });
is($shop->violations, '', 'nobody charged twice; money, stock and shipments agree');
is($shop->dead_letters(q{message_type <> 'Fault'}), '', 'no dead letters');
note($shop->sql(q{SELECT status, cancel_reason, count(*) FROM ecommerce_order.order_summary
	GROUP BY 1, 2 ORDER BY 1, 2}));
$shop->stop;
done_testing();
