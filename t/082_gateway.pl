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

# Sends bytes as they are, and returns all that comes.
sub raw
{
	my ($bytes) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$shop->{port}{gateway}")
	  or die "cannot connect: $!\n";
	print $socket $bytes;
	return join '', <$socket>;
}

# Requests that are not HTTP as they should be.
for my $case ([ 400, 'without a host', "GET /orders HTTP/1.1\r\n" ],
	[ 400, 'with two', "GET /orders HTTP/1.1\r\nHost: a\r\nHost: b\r\n" ],
	[ 400, 'that is none', "hello\r\n" ],
	[ 400, 'in small letters', "get / HTTP/1.1\r\nHost: a\r\n" ],
	[ 400, 'that leaves the tree', "GET /../x HTTP/1.1\r\nHost: a\r\n" ],
	[ 400, 'with NUL', "GET /\0 HTTP/1.1\r\nHost: a\r\n" ],
	[ 400, 'of no length', "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n" ],
	[ 405, 'to trace', "TRACE / HTTP/1.1\r\nHost: a\r\n" ],
	[ 431, 'with a long header', "GET / HTTP/1.1\r\nHost: a\r\nX: " . 'x' x 9_000 . "\r\n" ],
	[ 431, 'with long headers', "GET / HTTP/1.1\r\nHost: a\r\n"
		. ('X: ' . 'x' x 4_000 . "\r\n") x 12 ],
	[ 501, 'in an unknown coding', "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n" ],
	[ 505, 'of an unknown version', "GET / HTTP/3.0\r\nHost: a\r\n" ])
{
	my ($status, $what, $head) = @$case;
	like(raw("${head}Connection: close\r\n\r\n"),
		qr{^HTTP/1.1 $status .*^Content-Type: application/problem\+json\r\n.*"status":$status,}ms,
		"a request $what: a problem document");
}
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

# Whatever a client sends, the log is JSON in UTF-8, and says who sent it.
my @odd = ("/orders/\xff", '/orders/%ff', '/orders/%22%0a', '/orders?q=%ff', "/\xff");
raw("GET $_ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Correlation-Id: \"\xff\r\n"
	. "traceparent: \xff\r\n\r\n") for @odd;
$shop->until('the lines of odd paths', sub {
	2 == (() = slurp_file("$shop->{gateway_run}/access.log") =~ m{"GET \(not ASCII\)"}g) });
my @lines = split /\n/, slurp_file("$shop->{gateway_run}/access.log");
my $reader = JSON::PP->new->utf8;
is(scalar(grep { !eval { $reader->decode($_)->{ClientAddress} eq '127.0.0.1' } } @lines), 0,
	'each line of the log is JSON and has the address');
like("@lines", qr{"GET /orders/\Q$_\E"}, "a path is logged as it came: $_") for '%ff', '%22%0a';

# HEAD is GET without the body.
my ($get, $head) = map { $shop->call('gateway', $_, "/orders/$order") } qw(GET HEAD);
is($head->{status}, 200, 'HEAD');
is_deeply([ @{ $head->{headers} }{qw(etag content-type content-length)} ],
	[ @{ $get->{headers} }{qw(etag content-type content-length)} ], 'has the headers of GET');
is($head->{body} // '', '', 'and no body');
is($shop->call('gateway', 'HEAD', '/orders/x')->{status}, 404, 'whatever comes of it');
is($shop->call('gateway', 'GET', "/orders/$order")->{status}, 200, 'the connection is in step');

# Idle connections to daemons: nginx gives them up first, or it would meet closing ones.
my $config = `@{[ $shop->program('order') ]} --print-config`;
my ($patience) = $config =~ /^request-timeout = (\d+)s /m;
my @idle = slurp_file($shop->{gateway_conf}) =~ /^\s*keepalive_timeout (\d+)ms;/mg;
is(scalar @idle, 6, 'upstreams say how long they keep idle connections');
is(scalar(grep { $_ >= 1000 * $patience } @idle), 0, "all shorter than daemons do, $patience s");

kill 'STOP', $shop->{pid}{notification};
problem($shop->call('gateway', 'GET', '/notifications'), 504, 'a service that does not answer');
$shop->kill_daemon('notification', 'KILL');
problem($shop->call('gateway', 'GET', '/notifications'), 502, 'a service that is down');
is($shop->call('gateway', 'GET', '/orders')->{status}, 200, 'harms no other');

like(slurp_file($shop->{gateway_conf}), qr/$_/, "unless told otherwise: $_")
  for 'rate=1000r/s', 'burst=2000 ', 'client_max_body_size 1m', 'limit_conn open_per_address 256;';
# And so it does: TIME-WAIT (06) is with the end that has closed first.
$shop->stop_gateway;
$shop->start_gateway("$FindBin::RealBin/../services/gateway/render", GATEWAY_REQUEST_TIMEOUT => 1);
$shop->call('gateway', 'GET', '/orders');
my $orderd = sprintf '%04X', $shop->{port}{order};
ok($shop->until('the idle connection is given up', sub {
	slurp_file('/proc/net/tcp') =~ /^ *\d+: \w+:\w+ \w+:$orderd 06 /m }), 'nginx closes first');

# One request at a time: a second one beside one that is not answered is refused.
$shop->stop_gateway;
$shop->start_gateway("$FindBin::RealBin/../services/gateway/render", GATEWAY_CONNECTIONS => 1);
kill 'STOP', $shop->{pid}{order};
my @waiting;
problem($shop->until('one too many at a time', sub {
	push @waiting, IO::Socket::INET->new(PeerAddr => "127.0.0.1:$shop->{port}{gateway}")
	  // die "cannot connect: $!\n";
	print { $waiting[-1] } "GET /openapi/order.json HTTP/1.1\r\nHost: a\r\n\r\n";
	my $reply = $shop->call('gateway', 'GET', '/openapi/payment.json');
	$reply->{status} == 429 && $reply; }), 429, 'a request beside another');
close $_ for @waiting;
kill 'CONT', $shop->{pid}{order};

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
