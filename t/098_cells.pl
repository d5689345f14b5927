# Orders in three databases: each is found by its id alone, the list shows all of them, and
# a cell that is away stops its own orders and no others.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use OpenShop;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my @cells = map { "cell$_" } 1 .. 3;
my @databases = (qw(order inventory payment shipping notification), @cells);
my $shop = OpenShop->new(CELLS => 3,
	(map { ("LINKD_\U$_\E_PORT" => PostgreSQL::Test::Cluster::get_free_port()) } @databases),
	map { ("\U$_\E_PORT" => PostgreSQL::Test::Cluster::get_free_port()) } @cells);
my $client = bless { http => HTTP::Tiny->new(timeout => 40),
	port => { map { $_ => $ENV{ECOMMERCE_GATEWAY_PORT} } qw(order inventory) } }, 'Shop';
push @OpenShop::programs, (map { "linkd-$_" } @databases), map { "orderd-$_" } @cells;

# Asks the database of a service or cell.
sub in_database
{
	my ($service, $sql) = @_;
	my $name = $service eq 'order' ? 'ecommerce' : "ecommerce_$service";
	my ($out, $err) = run_command([ 'psql', '-XqAt', '-h', "$shop->{run}/pg", '-p',
		$ENV{ECOMMERCE_PORT}, '-U', 'postgres', '-c', $sql, $name ]);
	return $out . $err;
}

# The number of the cell that an order's id carries.
sub cell_of { return hex substr $_[0], 15, 3; }

my ($status, $said) = $shop->up;
is($status, 0, 'the shop opens') or die $said;
is_deeply([ sort $shop->running ], [ sort @OpenShop::programs ], 'all run');
$client->{key} = $shop->key('operator');
my $product = $client->product(1000);
for my $cell (@cells)
{
	$client->until("the price is known in $cell", sub {
		in_database($cell,
			"SELECT 1 FROM ecommerce_order.price_list WHERE product_id = '$product'") eq '1';
	});
}

# New ones are spread, and found.
my $customer = Shop::uuid();
my @orders = map { $client->order($product, 1, customer_id => $customer) } 1 .. 30;
my %spread;
push @{ $spread{ cell_of($_) } }, $_ for @orders;
is_deeply([ sort keys %spread ], [ 1 .. 3 ], 'all cells have orders');
is(in_database("cell$_", "SELECT count(*) FROM event_store.streams WHERE stream LIKE 'order-%'"),
	scalar @{ $spread{$_} }, "cell $_ has those whose ids say so, and no others") for 1 .. 3;
$client->reaches($_, 'Confirmed') foreach @orders;
is($client->call('order', 'GET', "/orders/$orders[0]/events")->{status}, 200, 'and its events');
is($client->call('order', 'GET', '/orders/' . uc $orders[0])->{status}, 200, 'in capitals too');
is($client->call('order', 'GET', '/orders/' . Shop::uuid())->{status}, 404, 'no cell: no order');
(my $elsewhere = $orders[0]) =~ s/^(.{15})..../$1fff-/;
is($client->call('order', 'GET', "/orders/$elsewhere")->{status}, 404, 'nor in one that is not');
is($client->call('order', 'GET', '/orders/events')->{status}, 404, 'no feed over all');

# Each went through the services once.
my $list = join ', ', map { "'$_'" } @orders;
is(in_database('payment', "SELECT count(*), sum(amount) FROM ecommerce_payment.payment
	WHERE status = 'captured' AND order_id IN ($list)"), '30|75.00', 'each was paid once');
is(in_database('inventory', "SELECT on_hand, reserved FROM ecommerce_inventory.product
	WHERE product_id = '$product'"), '970|0', 'what they had has left the stock');
is(in_database($_, 'SELECT count(*) FROM message_bus.dead_letters'), 0, "no dead letter at $_")
  for @databases;
is(in_database("cell$_", "SELECT accepted FROM message_bus.links WHERE name = 'from-shipping'"),
	in_database("cell$_", "SELECT count(*) FROM ecommerce_order.order_summary"),
	"cell $_ hears of its own parcels only") for 1 .. 3;

# A repeat comes to the cell that has had it.
my %repeat = ('Idempotency-Key' => 'once-and-for-all');
my $body = $client->order_body($product, 1, customer_id => $customer);
my @twice = map { $client->call('order', 'POST', '/orders', $body, %repeat)->{body}{order_id} }
  1 .. 4;
is_deeply([ map { $_ eq $twice[0] } @twice ], [ (1) x 4 ], 'the same key is the same order');
push @orders, $twice[0];
$client->reaches($twice[0], 'Confirmed');

# The list shows all, page by page.
sub listed
{
	my ($after, @ids) = (0);
	do
	{
		my $page = $client->call('order', 'GET',
			"/orders?customer_id=$customer&status=Confirmed&limit=7&after=$after")->{body};
		push @ids, map { $_->{order_id} } @{ $page->{items} };
		$after = $page->{next};
	} while (defined $after);
	return sort @ids;
}
$client->until('all orders are listed', sub { my @now = listed(); @now == @orders });
is_deeply([ listed() ], [ sort @orders ], 'each once');

# A cell that is away.
my ($down) = grep { cell_of($_) == 2 } @orders;
my ($up) = grep { cell_of($_) == 3 } @orders;
kill 'KILL', $shop->pid("$_-cell2") for qw(orderd linkd);
in_database('order', 'ALTER DATABASE ecommerce_cell2 ALLOW_CONNECTIONS false');
in_database('order', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE datname = 'ecommerce_cell2'});
is($client->call('order', 'GET', "/orders/$down")->{status}, 502, 'its orders cannot be asked for');
is($client->call('order', 'GET', "/orders/$up")->{status}, 200, 'those of others can');
is_deeply([ listed() ], [ sort @orders ], 'the list has all still');
my %answers;
my @new;
for my $n (1 .. 24)
{
	my $reply = $client->call('order', 'POST', '/orders',
		$client->order_body($product, 1, customer_id => $customer),
		'Idempotency-Key' => "while-away-$n");

	$answers{ $reply->{status} }++;
	push @new, $reply->{body}{order_id} if $reply->{status} == 202;
}
cmp_ok($answers{202} // 0, '>=', 8, 'others take new orders');
is(scalar(grep { cell_of($_) == 2 } @new), 0, 'and it none');
is($answers{202} + ($answers{502} // 0), 24, 'the rest is told that it does not answer');
$client->reaches($_, 'Confirmed') foreach @new;
in_database('order', 'ALTER DATABASE ecommerce_cell2 ALLOW_CONNECTIONS true');
is(($shop->up)[0], 0, 'it comes back');
is($client->call('order', 'GET', "/orders/$down")->{status}, 200, 'with its orders');
my $late = $client->until('it takes new ones', sub {
	my $reply = $client->call('order', 'POST', '/orders',
		$client->order_body($product, 1, customer_id => $customer));
	$reply->{status} == 202 && cell_of($reply->{body}{order_id}) == 2
	  && $reply->{body}{order_id};
});
$client->reaches($late, 'Confirmed');
is($shop->down, 0, 'the shop closes');
is(scalar $shop->running, 0, 'all of it');

done_testing();
