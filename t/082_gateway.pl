# The gateway: routes, correlation id, trace, rate limit, sizes, errors of its own as
# problem documents, and what is not public.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $shop = Shop->new(name => 'gateway');
$shop->start;
$shop->start_gateway("$FindBin::RealBin/../services/gateway/render");
my $product = $shop->product(10);

sub problem
{
	my ($reply, $status, $what) = @_;
	is($reply->{status}, $status, $what);
	is($reply->{headers}{'content-type'}, 'application/problem+json', "$what: a problem document");
	is($reply->{body}{status}, $status, "$what: with its status");
	is($reply->{body}{correlation_id}, $reply->{headers}{'x-correlation-id'},
		"$what: and the correlation id");
	return;
}

my $correlation = Shop::uuid();
my $posted = $shop->call('gateway', 'POST', '/orders', $shop->order_body($product, 1),
	'X-Correlation-Id' => $correlation);
is($posted->{status}, 202, 'an order comes through');
is($posted->{headers}{'x-correlation-id'}, $correlation, 'the correlation id is echoed, once');
my $order = $posted->{body}{order_id};
$shop->reaches($order, 'Confirmed');
is($shop->call('gateway', 'GET', "/orders/$order")->{body}{status}, 'Confirmed', 'orders');
is($shop->call('gateway', 'GET', "/products/$product")->{body}{on_hand}, 9, 'products');
is(scalar @{ $shop->call('gateway', 'GET', "/$_?order_id=$order")->{body}{items} }, 1, $_)
	for qw(payments shipments);
ok($shop->call('gateway', 'GET', "/notifications?order_id=$order")->{body}{items}, 'notifications');
is($shop->call('gateway', 'GET', "/openapi/$_.json")->{body}{openapi}, '3.1.0', "description of $_")
  for qw(order inventory payment shipping notification);

my $made = $shop->call('gateway', 'GET', '/orders', undef, 'X-Correlation-Id' => 'not a uuid');
like($made->{headers}{'x-correlation-id'},
	qr/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/,
		'one is made where there is none');
is($made->{headers}{'x-correlation-id'} =~ tr/,//, 0, 'and only one is given');

problem($shop->call('gateway', 'GET', '/metrics'), 404, 'metrics are not public');
problem($shop->call('gateway', 'GET', '/nothing'), 404, 'an unknown path');
problem($shop->call('gateway', 'POST', '/orders', '{"a":"' . 'x' x 1_100_000 . '"}'), 413,
	'a body too large');
is($shop->call('gateway', 'POST', '/orders', {})->{status}, 422, 'the errors of services pass');

$shop->kill_daemon('notification', 'KILL');
problem($shop->call('gateway', 'GET', '/notifications'), 502, 'a service that is down');
is($shop->call('gateway', 'GET', '/orders')->{status}, 200, 'harms no other');

like(slurp_file($shop->{gateway_conf}), qr/$_/, "unless told otherwise: $_")
  for 'rate=1000r/s', 'burst=2000';
# One request a second and one more: soon there is one too many, however slow we are.
$shop->stop_gateway;
$shop->start_gateway("$FindBin::RealBin/../services/gateway/render", GATEWAY_RATE => 1,
	GATEWAY_BURST => 1);
my $limited = $shop->until('a request too many', sub {
	my $reply = $shop->call('gateway', 'GET', '/health/ready');
	$reply->{status} == 429 && $reply;
});
problem($limited, 429, 'a request too many');
is($limited->{headers}{'retry-after'}, 1, 'says when to come back');

$shop->stop_gateway;
$shop->stop;
done_testing();
