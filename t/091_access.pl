# Who may do what: every route of every service, for every scope of key and for none, as the
# OpenAPI documents say and as the daemons' tables have it; what is another customer's is
# not there; and no way round the gateway's question whose a key is.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $tree = "$FindBin::RealBin/..";
my @services = qw(order inventory payment shipping notification);
my $shop = Shop->new(name => 'access', env => { PAYMENTD_WEBHOOK_SECRET => 'whsec' });
$shop->start;
$shop->start_gateway("$tree/services/gateway/render");

my ($anna, $bert) = map { Shop::uuid() } 1 .. 2;
my %key = (operator => $shop->key('operator'), warehouse => $shop->key('warehouse'),
	customer => $shop->key('customer', $anna), bert => $shop->key('customer', $bert));

# A request through the gateway with a key of that name, undef: with none.
sub as
{
	my ($who, $method, $path, $body, %headers) = @_;
	return $shop->call('gateway', $method, $path, $body,
		Authorization => defined $who ? "Bearer $key{$who}" : undef, %headers);
}

sub problem
{
	my ($reply, $status, $what) = @_;
	is($reply->{status}, $status, $what) or diag explain $reply->{body};
	like($reply->{headers}{'content-type'}, qr{^application/problem\+json},
		"$what: a problem document");
	is(ref $reply->{body} && $reply->{body}{status}, $status, "$what: with its status");
	return $reply;
}

my $product = $shop->product(100);
my $order = as('customer', 'POST', '/orders',
	$shop->order_body($product, 1, customer_id => $anna))->{body}{order_id};
$shop->reaches($order, 'Confirmed');

# What each document says, as "GET /orders" => [scopes], of what the gateway knows.
my %rule;
for my $service (@services)
{
	my $document = $shop->call('gateway', 'GET', "/openapi/$service.json", undef,
		Authorization => undef)->{body};
	my $source = slurp_file("$tree/services/$service/main.c");
	my %table = map { $_ => 1 } map { s/:(\w+)/{$1}/gr }
	  $source =~ /^\t\{"([A-Z]+", "\/[^"]*)"/mg;
	for my $path (sort keys %{ $document->{paths} })
	{
		next if $path =~ m{^/(?:health|metrics|openapi)};
		my $item = $document->{paths}{$path};
		for my $method (grep { /^(?:get|put|post|delete|patch)$/ } sort keys %$item)
		{
			my $security = $item->{$method}{security};
			ok($security, "$method $path says who may use it");
			$rule{ uc($method) . " $path" } = [ map { @{ $_->{key} } } @{ $security // [] } ];
			ok(delete $table{ uc($method) . "\", \"$path" }, 'and the daemon has it');
		}
	}
	is(join(' ', sort keys %table), '', "${service}d has no route that its document has not");
}
cmp_ok(scalar keys %rule, '>=', 15, 'routes of all services');

subtest 'all routes, all scopes' => sub {
	for my $route (sort keys %rule)
	{
		my ($method, $path) = split / /, $route;
		my %let_in = map { $_ => 1 } @{ $rule{$route} };
		$path =~ s/\{\w+\}/Shop::uuid()/ge;
		my $body = $method eq 'GET' ? undef : {};
		if ($route eq 'POST /payments/webhook')
		{
			is_deeply($rule{$route}, [], "$route takes no key");
			problem(as(undef, $method, $path, $body), 401, "$route, not signed");
			problem(as('operator', $method, $path, $body), 401, 'nor do operators sign');
			next;
		}
		ok($let_in{operator}, "$route: operators may do everything");
		my $nobody = problem(as(undef, $method, $path, $body), 401, "$route without a key");
		is($nobody->{headers}{'www-authenticate'}, 'Bearer realm="ecommerce"', 'asks for one');
		for my $scope (qw(customer warehouse operator))
		{
			my $reply = as($scope, $method, $path, $body);
			if ($let_in{$scope})
			{
				like($reply->{status}, qr/^(?:200|404|422)$/, "$route lets in the scope $scope");
			}
			else
			{
				problem($reply, 403, "$route with the scope $scope");
				is($reply->{headers}{'www-authenticate'},
					'Bearer realm="ecommerce", error="insufficient_scope"', 'says why');
			}
		}
	}
};

subtest 'without a key' => sub {
	is(as(undef, 'GET', $_)->{status}, 200, $_)
	  for '/health/live', '/health/ready', map { "/openapi/$_.json" } @services;
	problem(as(undef, 'GET', $_), 404, "$_ is not there")
	  for '/authenticate', '/health/access', '/metrics', '/openapi/access.json', '/openapi/x',
	  '/problem/401';
};

subtest 'keys that are not good' => sub {
	my ($id, $revoked) = split /\|/,
	  $shop->sql(q{SELECT * FROM ecommerce_access.create_key('r', 'operator')});
	my $expiring = $shop->sql(q{SELECT api_key FROM ecommerce_access.create_key('e', 'operator',
		expires_at => now() + interval '1 hour')});
	@key{qw(revoked expired)} = ($revoked, $expiring);
	is(as($_, 'GET', '/orders')->{status}, 200, "$_: good at first") for qw(revoked expired);
	$shop->sql("SELECT ecommerce_access.revoke_key('$id')");
	$shop->sql(q{UPDATE ecommerce_access.api_key SET expires_at = now() - interval '1 second'
		WHERE name = 'e'});
	for my $bad ("Bearer $revoked", "Bearer $expiring", 'Bearer ', 'Bearer', "Basic $key{operator}",
		$key{operator}, "Bearer $key{operator}x", "Bearer " . uc $key{operator},
		'Bearer ' . substr($key{operator}, 0, -1), "Bearer $key{operator} $key{operator}",
		'Bearer ' . 'x' x 6000, "Bearer ' OR true --")
	{
		my $reply = problem($shop->call('gateway', 'GET', '/orders', undef, Authorization => $bad),
			401, substr $bad, 0, 30);
		is($reply->{headers}{'www-authenticate'},
			'Bearer realm="ecommerce", error="invalid_token"', 'says that it is not good');
	}
	is($shop->call('gateway', 'GET', '/orders', undef,
		Authorization => "bearer  $key{operator}")->{status}, 200, 'the scheme in small letters');
};

subtest 'headers of the client name nobody' => sub {
	my %spoofed = ('X-Scope' => 'operator', 'X-User-Id' => 'root', 'X-Customer-Id' => $bert,
		'X-Tenant-Id' => 'other', 'X-Gateway-Secret' => $shop->{secret}, X_Scope => 'operator');
	problem(as(undef, 'GET', "/orders/$order", undef, %spoofed), 401, 'without a key');
	problem(as('bert', 'GET', "/orders/$order", undef, %spoofed, 'X-Customer-Id' => $anna), 404,
		'another customer');
	problem(as('customer', 'POST', "/products/$product/stock", { delta => 1, reason => 'x' },
		%spoofed), 403, 'another scope');
	my $mine = as('customer', 'POST', '/orders',
		$shop->order_body($product, 1, customer_id => $anna), %spoofed)->{body}{order_id};
	is($shop->sql("SELECT metadata ->> 'user_id', metadata ->> 'tenant_id'
		FROM event_store.read_stream('order-$mine', 1, 1)"), "$anna|",
		'what is stored is the key\'s');

	# past the gateway: a daemon believes the secret alone
	delete @spoofed{qw(X-Gateway-Secret X_Scope)};
	for my $secret (undef, '', 'x', "$shop->{secret}x", substr $shop->{secret}, 0, -1)
	{
		problem($shop->call('order', 'GET', "/orders/$order", undef, %spoofed,
			'X-Gateway-Secret' => $secret), 401, 'a daemon asked with ' . ($secret // 'nothing'));
	}
	problem($shop->call('access', 'GET', '/authenticate', undef, 'X-Gateway-Secret' => 'x',
		Authorization => "Bearer $key{operator}"), 401, 'accessd tells nobody else');
	problem($shop->call('order', 'GET', "/orders/$order", undef, 'X-Scope' => $_), 401,
		"the scope \"$_\" is none") for 'admin', 'Operator', '', 'operator,customer';
	problem($shop->call('order', 'GET', "/orders/$order", undef, 'X-Scope' => 'customer',
		'X-Customer-Id' => $_), 401, "the customer \"$_\" is nobody") for undef, '', 'x', "$anna-";
};

subtest 'what is another customer\'s is not there' => sub {
	my $fields = sub { my ($who, $path) = @_; scalar @{ as($who, 'GET', $path)->{body}{items} } };
	for my $path ('/orders', "/orders?customer_id=$anna", map { ("/$_", "/$_?order_id=$order") }
		qw(payments shipments notifications))
	{
		cmp_ok($fields->('customer', $path), '>', 0, "$path shows what is one's own");
		is($fields->('bert', $path), 0, "$path: and nothing to others");
	}
	is($fields->('customer', "/orders?customer_id=$bert"), 0, 'nor does naming another help');
	cmp_ok($fields->('customer', '/orders/events'), '>', 0, 'one follows one\'s own orders');
	is($fields->('bert', '/orders/events'), 0, 'and nobody else\'s');
	for my $route ([ 'GET', "/orders/$order" ], [ 'GET', "/orders/$order/events" ],
		[ 'POST', "/orders/$order/cancel", { reason => 'x' } ])
	{
		my $theirs = problem(as('bert', @$route), 404, "@$route[0, 1] of another");
		my ($method, $path, $body) = @$route;
		my $none = as('bert', $method, $path =~ s/\Q$order/Shop::uuid()/er, $body);
		is($theirs->{body}{detail}, $none->{body}{detail}, 'is told like one that there is not');
	}
	is(as('customer', 'GET', $_)->{status}, 200, "$_ of one's own")
	  for "/orders/$order", "/orders/$order/events";
	problem(as('bert', 'POST', '/orders', $shop->order_body($product, 1, customer_id => $anna)),
		403, 'an order for another');
	is($shop->show($order)->{cancellation}, undef, 'and nothing was cancelled');

	# keys of idempotency are everybody's own
	my $mine = as('customer', 'POST', '/orders', $shop->order_body($product, 1,
		customer_id => $anna), 'Idempotency-Key' => 'same');
	my $theirs = as('bert', 'POST', '/orders', $shop->order_body($product, 1,
		customer_id => $bert), 'Idempotency-Key' => 'same');
	is($theirs->{status}, 202, 'the same Idempotency-Key of another customer');
	isnt($theirs->{body}{order_id}, $mine->{body}{order_id}, 'is another order');
	my $again = as('operator', 'POST', '/orders', $shop->order_body($product, 1,
		customer_id => $anna), 'Idempotency-Key' => 'same');
	isnt($again->{body}{order_id}, $mine->{body}{order_id}, 'an operator\'s, too');

	is(as('customer', 'POST', "/orders/$order/cancel", { reason => 'mine' })->{status}, 202,
		'one\'s own can be cancelled');
	is($shop->reaches($order, 'Cancelled')->{cancelled_by}, $anna, 'and it is known by whom');
};

# Whatever nginx takes a path for, the daemon decides by what it takes it for itself.
subtest 'tricks with paths' => sub {
	for my $path ("//orders/$order", "/orders//$order", "/orders/%2e/$order", "/x/../orders/$order",
		"/orders/$order/", "/orders/$order/%65vents", "/%6frders/$order", "/Orders/$order",
		"/orders%2f$order", "/orders/..%2forders/$order", "/payments/webhook/../../orders/$order",
		"/payments/%77ebhook", "/payments/webhook/", "/payments//webhook",
		"/health/live/../../orders", "/health/ready/%2e%2e/%2e%2e/orders", "/openapi/../orders",
		"/openapi/order.json/../../orders", "/openapi/%2e%2e/orders/$order", "/health/%72eady",
		'/authenticate', '/%61uthenticate',
		"/orders/$order;a=b", "/orders/$order%00", "/orders/$order?x=/health/live",
		"/orders/$order%3f", "/orders\\$order", "http://shop/orders/$order",
		"http://shop/payments/webhook/../../orders/$order")
	{
		for my $who (undef, 'bert')
		{
			my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$shop->{port}{gateway}")
			  // die "cannot connect: $!\n";
			print $socket "GET $path HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
			  . ($who ? "Authorization: Bearer $key{$who}\r\n" : '') . "\r\n";
			my $reply = join '', <$socket>;
			my ($status) = $reply =~ /^HTTP\S+ (\d+)/;
			unlike($reply, qr/\Q$anna\E|"customer_id"/,
				($who // 'nobody') . ": $path shows nothing");
			# to Bert his own orders
			my $list = $who && $path =~ m{/orders$};
			like($status, $list ? qr/^(?:200|404)$/ : qr/^4(?:0[0145]|22)$/, "and is $status");
		}
	}
};

subtest 'nothing of a key is kept' => sub {
	my @files = (map { $shop->log_file($_) } @services, 'access');
	push @files, $shop->{node}->logfile, map { "$shop->{gateway_run}/$_.log" } qw(access error);
	for my $file (@files)
	{
		my $text = slurp_file($file);
		is(scalar(grep { index($text, $_) >= 0 } values %key, $shop->{secret}), 0,
			"$file has none");
	}
	my $dump = $shop->{node}->basedir . '/dump.sql';
	system_or_bail('pg_dump', '-f', $dump, $shop->{node}->connstr('shop'));
	my $text = slurp_file($dump);
	is(scalar(grep { index($text, $_) >= 0 } values %key), 0, 'nor has a dump');
	like($text, qr/COPY ecommerce_access\.api_key/, 'though the keys are in it');
	like($shop->until('a line about an order', sub {
		my ($line) = grep { m{"POST /orders".*"Status":202} } split /\n/,
		  slurp_file("$shop->{gateway_run}/access.log");
		$line }), qr/"UserId":"$anna"/, 'the gateway logs who it was');
};

$shop->kill_daemon('access', 'KILL');
my $closed = problem(as('operator', 'GET', '/orders'), 503, 'without accessd');
is($closed->{headers}{'retry-after'}, 1, 'the door stays shut for a while');
is(as(undef, 'GET', '/health/live')->{status}, 200, 'and the rest goes on');
problem(as(undef, 'GET', '/health/ready'), 503, 'though it is not ready');

$shop->stop_gateway;
$shop->stop;
done_testing();
