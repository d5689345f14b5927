# Who follows the lists and the feed of events while 8 clients write sees each row once:
# positions are given before the commit, and pages go no further than where none can
# appear any more. The feed waits for events that are not there yet.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use POSIX ();
use Shop;
use Test::More;
use Time::HiRes qw(time);

use constant { CLIENTS => 8, ORDERS => 25 };

my $shop = Shop->new(name => 'followers');
$shop->start;
my $product = $shop->product(1_000_000);
my %lists = (
	products => [ 'inventory', '/products', 'product_id', 'ecommerce_inventory.product' ],
	orders => [ 'order', '/orders', 'order_id', 'ecommerce_order.order_summary' ],
	payments => [ 'payment', '/payments', 'payment_id', 'ecommerce_payment.payment' ],
	shipments => [ 'shipping', '/shipments', 'shipment_id', 'ecommerce_shipping.shipment' ],
	notifications => [ 'notification', '/notifications', 'notification_id',
		'ecommerce_notification.notification' ],
	events => [ 'order', '/orders/events', 'event_id',
		q{event_store.read_all(0, 1000000, 'order')} ]);
my (%seen, %cursor);

# Takes the next page of a list; how many rows it has.
sub follow
{
	my ($list) = @_;
	my ($service, $path, $key) = @{ $lists{$list} };
	my $page = $shop->call($service, 'GET',
		"$path?limit=7" . (defined $cursor{$list} ? "&after=$cursor{$list}" : ''))->{body};
	$seen{$list}{ $_->{$key} }++ for @{ $page->{items} };
	$cursor{$list} = $page->{cursor};
	return scalar @{ $page->{items} };
}

# One client: orders and products, as fast as they are answered.
sub write_much
{
	my $http = HTTP::Tiny->new(timeout => 60, keep_alive => 1);
	my $send = sub {
		my ($service, $method, $path, $body) = @_;
		my $reply = $http->request($method, "http://127.0.0.1:$shop->{port}{$service}$path",
			{ headers => { 'Content-Type' => 'application/json',
				$shop->credentials($service) },
				content => $shop->encode($body) });
		POSIX::_exit(1) unless $reply->{success};
	};
	srand $$;
	for (1 .. ORDERS)
	{
		my $id = Shop::uuid();
		$send->('order', 'POST', '/orders', $shop->order_body($product, 1));
		$send->('inventory', 'PUT', "/products/$id", { sku => $id, name => 'New' }) if $_ % 3 == 0;
	}
	POSIX::_exit(0);
}

my %writers;
for (1 .. CLIENTS)
{
	my $pid = fork // die "cannot fork: $!";
	write_much() if $pid == 0;
	$writers{$pid} = 1;
}
my $failed = 0;
while (%writers)
{
	follow($_) for sort keys %lists;
	while ((my $pid = waitpid -1, POSIX::WNOHANG) > 0)
	{
		$failed++ if $? != 0 && exists $writers{$pid};
		delete $writers{$pid};
	}
}
is($failed, 0, 'all clients were served');
$shop->until('all is done', sub {
	follow($_) for sort keys %lists;
	$shop->sql(q{SELECT (SELECT sum(depth + scheduled + retrying) FROM message_bus.endpoints)
		+ (SELECT count(*) FROM ecommerce_notification.notification WHERE status = 'pending')
		+ (SELECT count(*) FROM ecommerce_order.order_summary WHERE status = 'Created')}) == 0 });

# A row of each list; of the rows that two transactions make so, the earlier is committed later.
sub rows
{
	my ($order, $key) = (Shop::uuid(), Shop::uuid());
	my $body = $shop->encode($shop->order_body($product, 1));
	return "SELECT ecommerce_inventory.put_product('$key', '{\"sku\": \"$key\", \"name\": \"x\"}');
		SELECT ecommerce_order.submit_order('$body');
		SELECT ecommerce_payment.refund_payment('{\"order_id\": \"$order\", \"key\": \"$key\",
			\"amount\": 1}');
		SELECT ecommerce_shipping.cancel_shipment('{\"order_id\": \"$order\", \"key\": \"$key\"}');
		SELECT ecommerce_notification.send_notification('{\"order_id\": \"$order\",
			\"customer_id\": \"$order\", \"key\": \"$key\", \"template\": \"none\"}');";
}
my $earlier = $shop->{node}->background_psql('shop');
$earlier->query_safe('BEGIN; ' . rows());
$shop->sql(rows());
for my $list (sort keys %lists)
{
	while (follow($list)) { }
}
$earlier->query_safe('COMMIT');
$earlier->quit;
$shop->until('that order is done, too', sub { $shop->sql(q{SELECT count(*)
	FROM ecommerce_order.order_summary WHERE status = 'Created'}) == 0 });

for my $list (sort keys %lists)
{
	my (undef, undef, $key, $table) = @{ $lists{$list} };
	while (follow($list)) { }
	my @rows = split /\n/, $shop->sql("SELECT $key FROM $table ORDER BY 1");
	cmp_ok(scalar @rows, '>=', CLIENTS * 8, "$list: there is much to follow");
	is_deeply([ grep { ($seen{$list}{$_} // 0) != 1 } @rows ], [], "$list: each was seen once");
	is(scalar keys %{ $seen{$list} }, scalar @rows, "$list: and nothing else");
}

subtest 'a long poll' => sub {
	my $wait = sub { $shop->call('order', 'GET',
		"/orders/events?after=$cursor{events}&wait=$_[0]") };
	is_deeply($wait->(0)->{body}{items}, [], 'nothing more without waiting');
	is_deeply($wait->(1)->{body}{items}, [], 'nor after a while');

	# several wait, some of them for what is there already; one order is for all
	my %pids;
	for my $after ($cursor{events}, $cursor{events}, 0)
	{
		my $pid = fork // die "cannot fork: $!";
		if ($pid == 0)
		{
			my $http = HTTP::Tiny->new(timeout => 60);
			my $reply = $http->get("http://127.0.0.1:$shop->{port}{order}/orders/events"
				. "?after=$after&wait=20", { headers => { $shop->credentials('order') } });
			POSIX::_exit($reply->{content} =~ /"OrderCreated"/ ? 0 : 1);
		}
		$pids{$pid} = 1;
	}
	$shop->until('somebody waits', sub { $shop->sql(q{SELECT count(*) FROM pg_stat_activity
		WHERE query LIKE 'CALL event_store.wait%' AND state = 'active'}) == 1 });
	$shop->order($product, 1);
	while (my ($pid) = keys %pids)
	{
		waitpid $pid, 0;
		is($?, 0, 'who waited got the event');
		delete $pids{$pid};
	}
	$cursor{events} = $shop->call('order', 'GET', '/orders/events?after=0&limit=1000')
	  ->{body}{cursor};

	# a daemon that stops lets nobody wait
	my $pid = fork // die "cannot fork: $!";
	if ($pid == 0)
	{
		my $http = HTTP::Tiny->new(timeout => 60);
		my $reply = $http->get("http://127.0.0.1:$shop->{port}{order}/orders/events"
			. '?after=99999999&wait=20', { headers => { $shop->credentials('order') } });
		POSIX::_exit($reply->{status} == 200 ? 0 : 1);
	}
	$shop->until('it waits', sub { $shop->call('order', 'GET', '/metrics')->{body}
		=~ /\S/ && $shop->sql(q{SELECT count(*) FROM pg_stat_activity
		WHERE query LIKE 'CALL event_store.wait%' AND state = 'active'}) == 1 });
	is($shop->kill_daemon('order', 'TERM'), 0, 'orderd stops');
	waitpid $pid, 0;
	is($?, 0, 'who waited was answered');
};

$shop->stop;
done_testing();
