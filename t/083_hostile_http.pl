# Hostile input over HTTP: malformed bodies, sizes, headers, methods, paths and clients
# that stop half way. Each is refused with a problem document or hung up on; nothing is
# ever our fault (500), and the daemons go on and end in order. The second half comes
# from a generator with a fixed seed; SHOP_SEED takes another.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use lib $FindBin::RealBin;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

use constant ROUNDS => 1000;

my $seed = $ENV{SHOP_SEED} // 20111209;
srand $seed;
note "seed $seed";

my $shop = Shop->new(name => 'hostile', env => { ECOMMERCE_REQUEST_TIMEOUT => '5s',
	PAYMENTD_WEBHOOK_SECRET => 'whsec_test' });
$shop->start;
my $product = $shop->product(1_000_000);
my $renamed = $shop->product(1);
my $body = $shop->encode($shop->order_body($product, 1));
my $json_type = "Content-Type: application/json\r\n";

sub connect_to
{
	my ($service) = @_;
	return IO::Socket::INET->new(PeerAddr => "127.0.0.1:$shop->{port}{$service}")
	  // die "cannot connect to $service: $!\n";
}

# Sends bytes as they are; returns status, headers and body of the reply, status 0 when
# the daemon hangs up without one.
sub raw
{
	my ($service, $bytes) = @_;
	my $socket = ref $service ? $service : connect_to($service);
	my $reply = '';

	# one that is refused early may be closed while we still write
	local $SIG{PIPE} = 'IGNORE';
	print $socket $bytes;
	$socket->flush;
	while (IO::Select->new($socket)->can_read(Shop::PATIENCE))
	{
		sysread($socket, $reply, 65536, length $reply) or last;
		my ($head, $rest) = split /\r\n\r\n/, $reply, 2;
		next unless defined $rest;
		my ($length) = $head =~ /^Content-Length: (\d+)/mi;
		return answer($head, $rest) if length $rest >= ($length // 0);
	}
	return { status => 0, head => '', body => '' };
}

sub answer
{
	my ($head, $rest) = @_;
	my ($status) = $head =~ /^HTTP\S+ (\d+)/;
	return { status => $status, head => $head, body => $rest };
}

sub request
{
	my ($method, $path, $content, $headers) = @_;
	my %credentials = $shop->credentials('order');
	return "$method $path HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n" . ($headers // '')
	  . join('', map { "$_: $credentials{$_}\r\n" } sort keys %credentials)
	  . (defined $content ? 'Content-Length: ' . length($content) . "\r\n\r\n$content" : "\r\n");
}

sub refused
{
	my ($reply, $status, $what) = @_;
	is($reply->{status}, $status, $what) or diag "$reply->{head}\n$reply->{body}";
	like($reply->{head}, qr{^Content-Type: application/problem\+json}m,
		"$what: a problem document");
	return;
}

sub post_order
{
	my ($content, $headers) = @_;
	return raw('order', request('POST', '/orders', $content, $headers // $json_type));
}

subtest 'bodies' => sub {
	my %bad = (
		'nothing' => '', 'white space' => " \n", 'half an object' => '{"a": ',
		'something behind' => "$body x", 'two documents' => "$body$body",
		'an array' => "[$body]", 'a number' => '1', 'null' => 'null',
		'NaN' => '{"a": NaN}', 'Infinity' => '{"a": -Infinity}', 'leading zero' => '{"a": 01}',
		'beyond a double' => '{"a": 1e400}', 'a number without end' => '{"a": ' . '9' x 5000 . '}',
		'single quotes' => "{'a': 1}", 'a comment' => '{"a": 1 /* x */}',
		'a comma too many' => '{"a": 1,}', 'the same key twice' => '{"a": 1, "a": 2}',
		'NUL' => "{\"a\": \"\0\"}", 'NUL behind' => "$body\0", 'escaped NUL' => '{"a": "\u0000"}',
		'invalid UTF-8' => "{\"a\": \"\xff\"}", 'overlong UTF-8' => "{\"a\": \"\xc0\xaf\"}",
		'a surrogate in UTF-8' => "{\"a\": \"\xed\xa0\x80\"}",
		'half a surrogate' => '{"a": "\ud800"}',
		'UTF-16' => "\xff\xfe{\0}\0", 'a mark in front' => "\xef\xbb\xbf$body",
		'deep arrays' => '{"a": ' . '[' x 100_000 . ']' x 100_000 . '}',
		'deep objects' => '{"a": ' x 50_000 . '1' . '}' x 50_000);
	refused(post_order($bad{$_}), 400, $_) for sort keys %bad;
	my %words = ('escaped NUL' => qr/text may not contain the character U\+0000/,
		'beyond a double' => qr/the number is too large/, 'invalid UTF-8' => qr/not UTF-8/,
		'null' => qr/^the body must be a JSON object$/, 'nothing' => qr/ends too early/);
	like($shop->decode(post_order($bad{$_})->{body})->{detail}, $words{$_}, "$_, in plain words")
	  for sort keys %words;
};


subtest 'fields' => sub {
	my @cases = (
		[ 'customer_id' => '"x"', '1', 'null', '[]', '"' . 'a' x 100_000 . '"' ],
		[ 'items' => 'null', '{}', '[]', '"x"', '[' . join(',', ('{}') x 501) . ']' ],
		[ 'items[0]' => '[1]', '[null]', '[[]]', '["x"]' ],
		[ 'items[0].quantity' => map { "[{\"quantity\": $_}]" } qw(-1 0 1.5 1e300 1000001 "1" true
			99999999999999999999 1e-300) ],
		[ 'items[0].unit_price' => map { "[{\"unit_price\": $_}]" } qw(-0.01 1.234 1e300 "1" {}
			10000000 1e-20) ],
		[ 'shipping_address' => 'null', '[]', '1' ],
		[ 'shipping_address.street' => '{}', '{"street": ""}', '{"street": "  "}', '{"street": 1}',
			'{"street": "\t"}', '{"street": "\u00a0\u2003"}',
			'{"street": "' . 'x' x 201 . '"}' ],
		[ 'payment_method' => '"card"', 'true' ],
		[ 'currency' => '"EUR"' ], [ 'items[0].color' => '[{"color": 1}]' ],
		[ 'shipping_address.zip' => '{"zip": "1"}' ],
		[ 'payment_method.number' => '{"number": "4242424242424242"}' ],
		[ 'payment_method.token' => '{"token": "4242424242424242"}', '{"token": "a b"}',
			'{"token": ""}', '{"token": 1}' ],
		[ 'payment_method.last4_digits' => '{"last4_digits": "42"}', '{"last4_digits": 4242}',
			'{"last4_digits": "424\n"}' ]);
	for my $case (@cases)
	{
		my ($field, @values) = @$case;
		my ($member) = $field =~ /^(\w+)/;
		for my $value (@values)
		{
			my $what = "$field = " . substr($value, 0, 40);
			my $reply = post_order("{\"$member\": $value}");
			refused($reply, 422, $what);
			my $named = grep { $_->{field} eq $field && $_->{detail} }
			  @{ $shop->decode($reply->{body})->{errors} };
			is($named, 1, "$what: named") or diag $reply->{body};
		}
	}
};

subtest 'sizes' => sub {
	my $padding = sub { '{"a": "' . 'x' x ($_[0] - 9) . '"}' };
	is(post_order($padding->(1_048_576))->{status}, 422, 'the largest body is read');
	refused(post_order($padding->(1_048_577)), 413, 'one byte more');
	my $huge = raw('order', "POST /orders HTTP/1.1\r\nHost: shop\r\n${json_type}"
		. "Content-Length: 99999999999\r\n\r\n{");
	like($huge->{status}, qr/^(?:0|413)$/, 'a huge one is not waited for');
	is(raw('order', "GET /orders HTTP/1.1\r\nHost: shop\r\nX-Long: " . 'x' x 65536 . "\r\n\r\n")
		->{status}, 400, 'long headers');
	is(raw('order', "GET /orders HTTP/1.1\r\n" . "X: y\r\n" x 20_000 . "\r\n")->{status}, 400,
		'many headers');
	is(raw('order', 'GET /' . 'x' x 100_000 . " HTTP/1.1\r\n\r\n")->{status}, 400, 'a long path');
};

subtest 'content types' => sub {
	refused(post_order($body, "Content-Type: $_\r\n"), 415, $_)
	  for 'text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'json', '';
	is(post_order($body, "Content-Type: $_\r\n")->{status}, 202, $_)
	  for 'application/json', 'Application/JSON; charset=utf-8', 'application/json ;a=b';
	refused(post_order($body, "${json_type}Content-Encoding: $_\r\n"), 415, "coded as $_")
	  for qw(gzip deflate br x);
	is(post_order($body, "${json_type}Content-Encoding: identity\r\n")->{status}, 202,
		'as it is');
};

subtest 'methods and paths' => sub {
	refused(raw('order', request($_, '/orders')), 405, $_) for qw(DELETE PATCH PUT OPTIONS);
	# libevent answers methods that it does not know
	like(raw('order', request($_, '/orders'))->{status}, qr/^(?:400|405|501)$/, $_)
	  for qw(TRACE CONNECT PROPFIND get G), 'x' x 1000;
	refused(raw('order', request('GET', $_)), 404, $_)
	  for '/orders/../../etc/passwd', '/orders/..%2f..%2fetc%2fpasswd', '/orders/%00',
	  '/orders/%zz', '/..', '//orders', '/orders//events', '/orders/1/events/2', '/ORDERS',
	  "/orders/' OR 1=1 --" =~ s/ /%20/gr, '/metrics/', '/' . 'x' x 4000;
	refused(raw('order', request('GET', '/orders/%ff')), 422, 'an escaped byte that is no UTF-8');
	my $reply = raw('order', request('GET', "/orders/\xff\xc3\xbc"));
	refused($reply, 422, 'a byte that is no UTF-8');
	is($shop->decode($reply->{body})->{instance}, "/orders/\x{fffd}\xc3\xbc",
		'is repeated as U+FFFD');
	is(raw('order', request('GET', "http://shop/orders?limit=1"))->{status}, 200,
		'an absolute address');
};

subtest 'queries and headers' => sub {
	my @bad = ('limit=0', 'limit=-1', 'limit=1001', 'limit=x', 'limit=', 'limit=9999999999',
		'limit=1;drop', 'after=x', 'after=%27', 'customer_id=1', 'status=Lost', 'status=%ff',
		'after=%00');
	refused(raw('order', request('GET', "/orders?$_")), 422, $_) for @bad;
	is(raw('order', request('GET', '/orders?'))->{status}, 200, 'nothing');
	refused(raw('order', request(@$_)), 422, "@$_[0, 1]: read by nobody")
	  for [ 'GET', '/orders?nothing=1' ], [ 'GET', '/orders?costumer_id=x' ],
	  [ 'GET', '/orders?limit=1&limit=2' ], [ 'GET', '/orders?Limit=1' ],
	  [ 'GET', "/orders/$product?limit=1" ], [ 'GET', '/orders?%6c%69mitx=1' ],
	  [ 'POST', '/orders?currency=EUR', $body, $json_type ];
	refused(raw('order', request('GET', "/orders?$_")), 400, $_) for '&&&', '=', 'limit=1&x';
	refused(post_order($body, "${json_type}Idempotency-Key: " . 'k' x 256 . "\r\n"), 422,
		'a long Idempotency-Key');
	is(post_order($body, "${json_type}$_\r\n")->{status}, 202, $_)
	  for "X-Correlation-Id: '; DROP TABLE x; --", 'traceparent: 00-x', 'X-User-Id: ' . 'u' x 5000,
	  'If-None-Match: "1"';
	refused(post_order($body, "$json_type$_: \xff\xfe\r\n"), 422, "$_ is no UTF-8")
	  for 'Idempotency-Key', 'X-User-Id', 'X-Tenant-Id';
};

subtest 'requests that contradict themselves' => sub {
	like(raw('order', $_->[1])->{status}, $_->[2], $_->[0])
	  for [ 'no HTTP', "hello\r\n\r\n", qr/^(?:0|400)$/ ],
	  [ 'TLS', "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", qr/^(?:0|400)$/ ],
	  [ 'HTTP/9.9', "GET / HTTP/9.9\r\n\r\n", qr/^(?:0|400|505)$/ ],
	  [ 'a negative length', "POST /orders HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}",
		qr/^(?:0|400)$/ ],
	  [ 'a length that is no number', "POST /orders HTTP/1.1\r\nContent-Length: 1x\r\n\r\n{}",
		qr/^(?:0|400)$/ ],
	  [ 'a bad chunk', "POST /orders HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
		qr/^(?:0|400|413)$/ ],
	  [ 'a header without colon', "GET /orders HTTP/1.1\r\nbroken\r\n\r\n", qr/^(?:0|400)$/ ];
	is(raw('order', request('POST', '/orders', undef, "${json_type}Transfer-Encoding: chunked\r\n")
		. sprintf("%x\r\n%s\r\n0\r\n\r\n", length $body, $body))->{status}, 202, 'chunks are read');
};

subtest 'webhooks' => sub {
	my $signed = sub {
		my ($content, $time, $secret) = @_;
		my $signature = hmac_sha256_hex("$time.$content", $secret // 'whsec_test');
		return raw('payment', request('POST', '/payments/webhook', $content,
			"${json_type}Stripe-Signature: t=$time,v1=$signature\r\n"));
	};
	my $event = '{"id": "evt_1", "type": "charge.refunded", "data": {"object": {"id": "ch_1"}}}';
	is($signed->($event, time)->{status}, 200, 'a signed event is taken');
	is($signed->($event, time)->{status}, 200, 'once more too');
	refused($signed->($event, time, 'another'), 401, 'another secret');
	refused($signed->($event, time - 301), 401, 'an old one');
	refused($signed->($event, time + 301), 401, 'one from the future');
	refused($signed->(substr($event, 0, -1), time), 400, 'half of one');
	refused($signed->('[]', time), 400, 'an array');
	refused($signed->($_, time), 422, $_)
	  for '{}', '{"id": 1, "type": "x"}', '{"id": "evt_2"}', '{"id": "", "type": "x"}';
	is($signed->("{\"id\": \"evt_3$_->[0]\", \"type\": \"charge.succeeded\", \"data\": $_->[1]}",
		time)->{status}, 200, "data is $_->[1]")
	  for [ 1, 'null' ], [ 2, '[]' ], [ 3, '{"object": 1}' ], [ 4, '{"object": {"metadata": []}}' ],
	  [ 5, '{"object": {"metadata": {"key": "x"}}}' ];
	for my $header ('', 't=', 'v1=', 't=1', 't=x,v1=y', 't=' . time . ',v1=', ',,,', '=' x 3000,
		't=' . time . ',v1=' . '0' x 64, 't=99999999999999999999,v1=00',
		't=-99999999999999999999,v1=00')
	{
		refused(raw('payment', request('POST', '/payments/webhook', $event,
			"${json_type}Stripe-Signature: $header\r\n")), 401,
			'signature ' . substr $header, 0, 30);
	}
	refused(raw('payment', request('POST', '/payments/webhook', $event, $json_type)), 401,
		'no signature');
};

subtest 'clients that stop' => sub {
	my @slow = map { connect_to('order') } 1 .. 100;
	print { $slow[$_] } substr request('POST', '/orders', $body, $json_type), 0, 3 * $_
	  for 0 .. $#slow;
	$_->flush for @slow;
	is(post_order($body)->{status}, 202, 'others are served meanwhile');
	is(scalar(grep { raw($_, '')->{status} !~ /^(?:0|400|408)$/ } @slow), 0,
		'and they are hung up on');
	for (1 .. 20)
	{
		my $gone = connect_to('order');
		print $gone request('POST', '/orders', $body, $json_type);
		close $gone;
	}
	is(post_order($body)->{status}, 202, 'clients that do not wait for the answer do no harm');
};

# Valid requests, to be spoilt.
my @valid = (
	[ 'order', 'POST', '/orders', $body ],
	[ 'order', 'POST', "/orders/$product/cancel", '{"reason": "changed my mind"}' ],
	[ 'order', 'GET', '/orders?status=Created&limit=5' ], [ 'order', 'GET', "/orders/$product" ],
	[ 'inventory', 'PUT', "/products/$renamed", '{"sku": "sku-1", "name": "Thing"}' ],
	[ 'inventory', 'POST', "/products/$product/stock", '{"delta": 1, "reason": "found"}' ],
	[ 'inventory', 'GET', '/products?limit=5' ], [ 'inventory', 'GET', "/products/$product" ],
	[ 'payment', 'GET', "/payments?order_id=$product" ],
	[ 'payment', 'POST', '/payments/webhook', '{"id": "evt_9", "type": "x"}' ],
	[ 'shipping', 'GET', "/shipments?order_id=$product" ],
	[ 'shipping', 'POST', "/shipments/$product/dispatch", '{}' ],
	[ 'notification', 'GET', "/notifications?order_id=$product" ]);
my @scraps = ('"', '\\', '{', '}', '[', ']', ',', ':', 'null', 'true', '-', '0', '9' x 30, '1e9',
	'1e999', '\u0000', '\ud83d', "\0", "\xff", "\xc3", '%', '%00', '%2f', '/', '..', '?', '&', '=',
	' ', "\t", '"items": [],', '"quantity": -1,', Shop::uuid(), 'x' x 300);

my @values = ('null', '1', '-1', '1e300', '"x"', '""', 'true', '[]', '{}', '[null]', '[{}]',
	"\"$product\"", '"2000-01-01"', '"9999-12-31T23:59:59Z"', '"infinity"', '[{"quantity": -1}]');

# One to three changes: a value or a scrap put in, bytes lost, bytes twice, a byte changed.
sub spoil
{
	my ($text) = @_;
	for (0 .. rand 3)
	{
		my $at = int rand(1 + length $text);
		my $some = int rand 20;
		my $kind = int rand 5;
		if ($kind == 4) { $text =~ s/(?<=": )("[^"]*"|[\d.]+)/$values[ rand @values ]/; }
		elsif ($kind == 0) { substr($text, $at, 0) = $scraps[ rand @scraps ]; }
		elsif ($kind == 1) { substr($text, $at, $some) = ''; }
		elsif ($kind == 2) { substr($text, $at, 0) = substr $text, $at, $some; }
		elsif ($at < length $text) { substr($text, $at, 1) = chr rand 256; }
	}
	return $text;
}

subtest 'spoilt requests' => sub {
	my @faults;
	my %seen;
	for my $round (1 .. ROUNDS)
	{
		my ($service, $method, $path, $content) = @{ $valid[ rand @valid ] };
		my $part = int rand 3;
		$content = spoil($content) if defined $content && $part != 1;
		$path = '/' . (spoil($path) =~ s/[\0-\x20]//gr) if $part == 1;
		my $bytes = request($method, $path, $content, $json_type);
		# of a spoilt head not even the length of the body is certain, so we end it
		my $spoilt_head = $part == 2 && rand() < 0.5;
		my $socket = connect_to($service);
		if ($spoilt_head)
		{
			$bytes =~ s/^(.*?)(\r\n\r\n)/spoil($1) . $2/es;
			print $socket $bytes;
			$socket->flush;
			shutdown $socket, 1;
			$bytes = '';
		}
		my $reply = raw($socket, $bytes);
		my $status = $reply->{status};
		my $document = eval { $shop->decode($reply->{body}) };
		$seen{$status}++;
		next if $spoilt_head && $status =~ /^(?:0|[24]\d\d|304|501|505)$/;
		next if $status =~ /^(?:200|202|304)$/ && $document;
		next if $status =~ /^4/ && $document && $document->{status} == $status;
		# libevent itself refuses what is no address
		next if $part == 1 && $status == 400;
		push @faults, "$service $method $path -> $status " . ($content // '');
	}
	is_deeply(\@faults, [], 'each gets a proper answer');
	ok($seen{$_}, "some get $_") for 200, 400, 401, 404, 422;
	note join ', ', map { "$_: $seen{$_}" } sort keys %seen;
};

# The same for what comes over the bus.
subtest 'spoilt messages' => sub {
	my $key = { order_id => undef, key => undef };
	my $line = { product_id => $product, sku => 's', quantity => 1 };
	my $pay = { %$key, amount => 1.5, currency => 'USD', not_after => '9999-12-31T23:59:59Z',
		payment_method => { type => 'card', last4_digits => '4242', token => 'tok_ok' } };
	my $address = $shop->decode($body)->{shipping_address};
	my @commands = (
		[ 'inventory', 'ReserveInventory', { %$key, items => [$line], ttl => 900,
			not_after => '9999-12-31T23:59:59Z' } ],
		[ 'inventory', 'CommitReservation', $key ],
		[ 'inventory', 'ReleaseInventory', { %$key, reason => 'x' } ],
		[ 'payment', 'ProcessPayment', $pay ], [ 'payment', 'QueryPaymentStatus', $key ],
		[ 'payment', 'RefundPayment', { %$key, amount => 1.5, reason => 'x' } ],
		[ 'shipping', 'ArrangeShipment', { %$key, items => [$line], shipping_address => $address,
			not_after => '9999-12-31T23:59:59Z' } ],
		[ 'shipping', 'CancelShipment', $key ],
		[ 'notification', 'SendNotification', { %$key, customer_id => $product,
			template => 'order_received', data => { total => 1.5 } } ],
		[ 'order', 'PaymentProcessed', { %$key, transaction_id => 'x', amount => 1.5,
			currency => 'USD' } ]);
	my @odd = (@values, '0', '999999999999999.99', '"9999999999"', '{"type": ""}',
		"[{\"product_id\": \"$product\", \"sku\": \"s\", \"quantity\": -1}]",
		"[{\"product_id\": \"$product\", \"sku\": \"s\", \"quantity\": 2147483647}]");
	# what fails is put away at once, and however much fails the rest is served
	$shop->sql(q{SELECT message_bus.alter_endpoint(name, retry => '{"kind": "none"}',
		breaker => '{"kind": "none"}') FROM message_bus.endpoints});
	my @ids = map { Shop::uuid() } 1 .. 30;
	my @keys = map { Shop::uuid() } @ids;
	my $sql = '';
	for (1 .. 300)
	{
		my ($endpoint, $type, $valid) = @{ $commands[ rand @commands ] };
		my %fields = map { $_ => $shop->encode($valid->{$_}) } keys %$valid;
		my @free = grep { !/^(?:order_id|key)$/ } sort keys %fields;
		$fields{ $free[ rand @free ] } = $odd[ rand @odd ] if @free;
		# few keys, so that commands meet; each belongs to one order
		my $n = int rand @ids;
		@fields{qw(order_id key)} = ("\"$ids[$n]\"", "\"$keys[$n]\"");
		my $text = '{' . join(', ', map { "\"$_\": $fields{$_}" } sort keys %fields) . '}';
		# those that break their contract are refused here
		$sql .= "BEGIN PERFORM message_bus.send('$endpoint', '$type', '$text');
			sent := sent + 1; EXCEPTION WHEN SQLSTATE 'ST004' THEN NULL; END;\n";
	}
	my $sent = $shop->sql("CREATE FUNCTION pg_temp.send(OUT sent int) LANGUAGE plpgsql
		AS \$\$ BEGIN sent := 0; $sql END \$\$; SELECT pg_temp.send()");
	cmp_ok($sent, '>', 50, 'the others arrive') or diag "only $sent";
	my $order = $shop->order($product, 1);
	$shop->reaches($order, 'Confirmed');
	$shop->until('nothing is left', sub {
		$shop->sql('SELECT sum(depth) FROM message_bus.endpoints') == 0 });
	is($shop->violations, '', 'the books agree');
};

for my $service (qw(order inventory payment shipping notification))
{
	my @lines = split /\n/, slurp_file($shop->log_file($service));
	my $reader = JSON::PP->new->utf8;
	is(scalar(grep { !eval { $reader->decode($_) } } @lines), 0, "$service: each log line is JSON");
	is(scalar(grep { /"\@l":"Error"/ } @lines), 0, "$service: no error of its own")
	  or diag((grep { /"\@l":"Error"/ } @lines)[0]);
	is($shop->call($service, 'GET', '/health/ready')->{status}, 200, "$service is ready");
}
$shop->stop;
done_testing();
