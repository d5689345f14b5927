# The gateway: routes, correlation id, trace, rate limit, sizes, errors of its own as
# problem documents, and what is not public.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $shop = Shop->new(name => 'gateway');
$shop->start;
$shop->start_gateway("$FindBin::RealBin/../services/gateway/render", GATEWAY_TIMEOUT => '2s');
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

problem($shop->call('gateway', 'GET', '/orders?after=' . 'x' x 10_000), 414, 'an address too long');

# A request that is not HTTP as it should be.
my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$shop->{port}{gateway}")
  or die "cannot connect: $!\n";
print $socket "GET /orders HTTP/1.1\r\nConnection: close\r\n\r\n";
my $reply = join '', <$socket>;
like($reply, qr{^HTTP/1.1 400 .*^Content-Type: application/problem\+json\r\n.*"status":400}ms,
	'a request without a host: a problem document');
is($shop->call('gateway', 'GET', '/problem/400')->{status}, 404, 'of which there is no address');

# The trace: the client's goes on through the service into what is stored; else one begins.
my $parent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
sub trace_of_order
{
	my $id = $shop->call('gateway', 'POST', '/orders', $shop->order_body($product, 1),
		@_)->{body}{order_id};
	return $shop->sql("SELECT split_part(metadata ->> 'traceparent', '-', 2)
		FROM event_store.read_stream('order-$id', 1, 1)");
}
is(trace_of_order(traceparent => $parent), '4bf92f3577b34da6a3ce929d0e0e4736',
	'the trace goes on');
my $begun = trace_of_order(traceparent => 'nonsense');
like($begun, qr/^[0-9a-f]{32}$/, 'or begins here');

# The gateway logs as the daemons do: a JSON object per request.
my $log = $shop->until('a line of that trace in the log', sub {
	my ($line) = grep { /$begun/ } split /\n/, slurp_file("$shop->{gateway_run}/access.log");
	$line && decode_json($line);
});
is($log->{'@tr'}, $begun, 'the log has the trace');
is($log->{Route}, 'POST /orders', 'and the route');
is($log->{Status}, 202, 'and the status');
like($log->{'@t'}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$/,
	'and the time to the millisecond');

kill 'STOP', $shop->{pid}{notification};
problem($shop->call('gateway', 'GET', '/notifications'), 504, 'a service that does not answer');
$shop->kill_daemon('notification', 'KILL');
problem($shop->call('gateway', 'GET', '/notifications'), 502, 'a service that is down');
is($shop->call('gateway', 'GET', '/orders')->{status}, 200, 'harms no other');

like(slurp_file($shop->{gateway_conf}), qr/$_/, "unless told otherwise: $_")
  for 'rate=1000r/s', 'burst=2000 ', 'client_max_body_size 1m';
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
