# The shop in five databases: the demo's real invoices go through all of them while the
# programs between them are killed, and file, events and services agree to the piece and the
# cent; then orders go on through a crash of the server.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use OpenShop;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my @databases = qw(order inventory payment shipping notification);
my $shop = OpenShop->new(DATABASES => 'five', DEMO_INVOICES => 25, map {
		("LINKD_\U$_\E_PORT" => PostgreSQL::Test::Cluster::get_free_port()) } @databases);
my $client = bless { http => HTTP::Tiny->new(timeout => 40),
	port => { map { $_ => $ENV{ECOMMERCE_GATEWAY_PORT} } qw(order inventory) } }, 'Shop';
push @OpenShop::programs, map { "linkd-$_" } @databases;

# Asks the database of a service.
sub in_database
{
	my ($service, $sql) = @_;
	my $name = $service eq 'order' ? 'ecommerce' : "ecommerce_$service";
	my ($out, $err) = run_command([ 'psql', '-XqAt', '-h', "$shop->{run}/pg", '-p',
		$ENV{ECOMMERCE_PORT}, '-U', 'postgres', '-c', $sql, $name ]);
	return $out . $err;
}

my ($status, $said) = $shop->up;
is($status, 0, 'the shop opens') or die $said;
is_deeply([ $shop->running ], \@OpenShop::programs, 'all run, a linkd for each database');
is(in_database('order', 'SELECT count(*) FROM message_bus.links'), 4, 'links from all services');
$client->{key} = $shop->key('operator');

# Kills one carrier after the other, and starts it again, until it is told to stop.
my $killer = fork // die "cannot fork: $!";
if ($killer == 0)
{
	my $stop = 0;
	local $SIG{TERM} = sub { $stop = 1 };
	srand 95;
	while (!$stop)
	{
		my $pid = $shop->pid('linkd-' . $databases[ rand @databases ]);
		kill 'KILL', $pid if $pid;
		$shop->up;
	}
	require POSIX;
	POSIX::_exit(0);
}
my $output = `"$shop->{tree}/demo/demo.sh" 2>&1 </dev/null`;
is($?, 0, 'the demo runs to its end') or diag($output);
kill 'TERM', $killer;
waitpid $killer, 0;
like($output, qr/^  To the piece and to the cent/m, 'file, events and services agree');
unlike($output, qr/│ NO$/m, 'nothing disagrees');
is(($shop->up)[0], 0, 'all run again');
is(in_database($_, 'SELECT count(*) FROM message_bus.dead_letters'), 0, "no dead letter at $_")
  for @databases;
is(in_database('inventory', 'SELECT count(*) > 0 FROM event_store.read_all()'), 't',
	'inventory has its own events');
is(in_database('inventory', "SELECT count(*) FROM event_store.streams WHERE stream LIKE 'order-%'"),
	0, 'and none of orders');

# The server crashes with orders on their way.
my $product = $client->product(100);
$client->until('the price is known', sub {
	in_database('order',
		"SELECT 1 FROM ecommerce_order.price_list WHERE product_id = '$product'") eq '1';
});
my @orders = map { $client->order($product, 2) } 1 .. 10;
system('pg_ctl', '-s', '-w', '-m', 'immediate', '-D', "$shop->{run}/pg/data", 'stop') == 0
  or die "cannot stop the server\n";
is(($shop->up)[0], 0, 'up without a server');
$client->reaches($_, 'Confirmed') foreach @orders;
my $list = join ', ', map { "'$_'" } @orders;
is(in_database('order', "SELECT count(*), sum(amount) FROM ecommerce_payment.payment
	WHERE status = 'captured' AND order_id IN ($list)"), '10|50.00', 'each was paid once');
is(in_database('inventory', "SELECT on_hand, reserved FROM ecommerce_inventory.product
	WHERE product_id = '$product'"), '80|0', 'what they had has left the stock');
is(in_database('shipping', "SELECT count(*) FROM ecommerce_shipping.shipment
	WHERE order_id IN ($list)"), 10, 'each has its parcel');

done_testing();
