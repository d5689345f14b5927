# services/up and services/down: what runs is left alone, what is missing is started,
# whatever a pid file says; a server and an empty database of somebody else will do.
use strict;
use warnings;

use File::Basename qw(basename);
use File::Copy qw(copy);
use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::INET;
use OpenShop;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $shop = OpenShop->new;
# The part of Shop that talks to a shop over HTTP, with the gateway in place of a service.
my $client = bless { http => HTTP::Tiny->new(timeout => 40),
	port => { map { $_ => $ENV{ECOMMERCE_GATEWAY_PORT} } qw(order inventory) } }, 'Shop';
my @all = @OpenShop::programs;

sub pids
{
	return { map { $_ => $shop->pid($_) } @all, @_ };
}

# A process of that program that has ended and waits for its parent, and its pid.
sub zombie
{
	my ($program) = @_;
	my $pid = fork // die "cannot fork: $!";
	if ($pid == 0)
	{
		open STDERR, '>', '/dev/null';
		exec("$ENV{PG_BINDIR}/$program", '--no-such-option') or exit 1;
	}
	$client->until("$program is a zombie", sub {
		slurp_file("/proc/$pid/status") =~ /^Name:\s+$program\n.*^State:\s+Z/ms;
	});
	return $pid;
}

sub pretend
{
	my ($program, $pid) = @_;
	unlink "$shop->{run}/$program.pid";
	append_to_file("$shop->{run}/$program.pid", "$pid\n");
	return;
}

# Opening.
my ($status, $said) = $shop->up;
is($status, 0, 'up') or die $said;
$client->{key} = $shop->key('operator');
like($said, qr/the shop is open at/, 'says where the shop is');
is_deeply([ $shop->running ], \@all, 'all run');
my $first = pids();
my $server = slurp_file("$shop->{run}/pg/data/postmaster.pid");
is($client->call('order', 'GET', '/health/ready')->{status}, 200, 'and the gateway answers');
my $product = $client->product(5);

# Again: nothing is missing.
is(($shop->up)[0], 0, 'up again');
is_deeply(pids(), $first, 'starts no program a second time');
is(slurp_file("$shop->{run}/pg/data/postmaster.pid"), $server, 'nor the server');

# One is missing, and every kind of pid file that tells nothing.
kill 'KILL', $first->{paymentd};
kill 'TERM', @$first{qw(orderd inventoryd shippingd)};
$client->until('four have ended', sub { $shop->running == 4 });
my $zombie = zombie('orderd');
pretend('orderd', $zombie);
pretend('inventoryd', $$);
pretend('shippingd', 'nonsense');
is(($shop->up)[0], 0, 'up when some have ended');
waitpid $zombie, 0;
is_deeply([ $shop->running ], \@all, 'all run again');
my $second = pids();
is($second->{$_}, $first->{$_}, "$_ was left alone") for qw(nginx notificationd accessd
	consoled);
isnt($second->{orderd}, $zombie, 'a zombie does not run');
isnt($second->{inventoryd}, $$, 'another program is not inventoryd');

# Installed anew: what is another build is restarted, what is the same is not.
{
	my $bin = "$shop->{directory}/bin";
	mkdir $bin;
	symlink $_, "$bin/" . basename($_) for glob "$ENV{PG_BINDIR}/*";
	for my $program (qw(shippingd notificationd))
	{
		unlink "$bin/$program";
		copy("$ENV{PG_BINDIR}/$program", "$bin/$program") or die "cannot copy: $!\n";
		chmod 0755, "$bin/$program";
	}
	append_to_file("$bin/notificationd", "another build\n");
	local $ENV{PG_BINDIR} = $bin;
	is(($shop->up)[0], 0, 'up after an installation');
	my $third = pids();
	isnt($third->{notificationd}, $second->{notificationd}, 'another build is started');
	is_deeply({ %$third, notificationd => 0 }, { %$second, notificationd => 0 },
		'the same one is left alone');
	is_deeply([ $shop->running ], \@all, 'and all run');
	is(slurp_file("$shop->{run}/pg/data/postmaster.pid"), $server, 'the server as well');

	copy("$shop->{run}/database.sum", "$shop->{run}/kept") or die "cannot copy: $!\n";
	append_to_file("$shop->{run}/database.sum", "another build\n");
	($status, $said) = $shop->up;
	isnt($status, 0, 'up with a database that another build has made');
	like($said, qr/made by another build/, 'is refused');
	rename "$shop->{run}/kept", "$shop->{run}/database.sum" or die "cannot rename: $!\n";
}
is(($shop->up)[0], 0, 'up with the first build again');

# Another secret is made when there is none, and given to all who need it; keys stay. What
# tells secrets is for nobody else to read.
$second = pids();
my $key = $shop->key('operator');
unlink "$shop->{run}/gateway/secret";
is(($shop->up)[0], 0, 'up without the gateway\'s secret');
my $fourth = pids();
is(scalar(grep { $fourth->{$_} == $second->{$_} } @all), 0, 'all are started again');
is($client->call('order', 'GET', '/orders')->{status}, 200, 'and believe each other');
is($shop->key('operator'), $key, 'the key is the same');
is((stat "$shop->{run}/$_")[2] & 077, 0, "$_ is nobody else's")
  for qw(keys keys/operator keys/warehouse gateway/secret gateway/nginx.conf);
$second = pids();

# The server alone is missing; daemons find it again by themselves.
system('pg_ctl', '-s', '-w', '-m', 'immediate', '-D', "$shop->{run}/pg/data", 'stop') == 0
  or die "cannot stop the server\n";
is(($shop->up)[0], 0, 'up without a server');
is_deeply(pids(), $second, 'starts the server only');
my $order = $client->order($product, 2);
$client->reaches($order, 'Confirmed');

# Closing, twice, and opening again.
is($shop->down, 0, 'down');
is_deeply([ $shop->running ], [], 'nothing runs');
ok(!-e "$shop->{run}/pg/data/postmaster.pid", 'nor does the server');
is($shop->down, 0, 'down when nothing runs');
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ENV{ORDERD_PORT},
	Listen => 1, ReuseAddr => 1) or die "cannot listen: $!\n";
($status, $said) = $shop->up;
isnt($status, 0, 'up when somebody has a port of ours');
like($said, qr/orderd has stopped.*ORDERD_PORT names another/s, 'says who has no port');
close $taken;
$taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1, ReuseAddr => 1,
	LocalPort => $ENV{ECOMMERCE_GATEWAY_PORT}) or die "cannot listen: $!\n";
($status, $said) = $shop->up;
isnt($status, 0, 'up when somebody has the port of the gateway');
like($said, qr/the gateway did not start.*ECOMMERCE_GATEWAY_PORT names another/s, 'says so');
close $taken;
is(($shop->up)[0], 0, 'up after that');
is($client->show($order)->{status}, 'Confirmed', 'what was there is there');
is($client->stock($product), '3/0/3', 'the stock, too');
is($shop->down, 0, 'down');

# The gateway's master is killed: its workers keep the port, and are ended all the same, by
# up and by down.
sub strays
{
	return grep { (readlink($_) // '') =~ m{^\Q$shop->{run}\E/nginx\.error\.log} }
	  glob '/proc/[0-9]*/fd/2';
}
is(($shop->up)[0], 0, 'up');
for my $way ('up', 'down')
{
	my $master = $shop->pid('nginx');
	kill 'KILL', $master;
	$client->until('the master is gone', sub { $shop->running == @all - 1 });
	ok(strays() > 0, 'workers are left');
	is($way eq 'up' ? ($shop->up)[0] : $shop->down, 0, "$way after that");
	is($client->call('order', 'GET', '/health/ready')->{status}, 200, 'the shop is open')
	  if $way eq 'up';
}
is(scalar strays(), 0, 'nothing of the gateway runs');

# A program that ends between the look and the signal: no process has that pid.
pretend('orderd', slurp_file('/proc/sys/kernel/pid_max') + 0);
is(system('bash', '-euc', <<'EOF', $shop->{tree}), 0, 'a program that has just ended is stopped');
. "$0/services/run.sh"
looks=0
runs() { ((looks++ == 0)); }
stop orderd TERM
EOF
ok(!-e "$shop->{run}/orderd.pid", 'and its pid file is gone');

# The directory's name leads to a place that may be somebody else's.
my $linked = OpenShop->new;
symlink $shop->{run}, $linked->{run} or die "cannot link: $!\n";
($status, $said) = $linked->up;
isnt($status, 0, 'up through a symbolic link');
like($said, qr/belongs to somebody else/, 'is refused');

# Somebody else's server, over its socket directory: an empty database, and one that is
# not there yet.
my $node = PostgreSQL::Test::Cluster->new('theirs');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE empty');
for my $database (qw(empty missing))
{
	my $theirs = OpenShop->new(PGHOST => $node->host, PGPORT => $node->port,
		PGDATABASE => $database);
	$client->{port}{$_} = $ENV{ECOMMERCE_GATEWAY_PORT} for qw(order inventory);
	($status, $said) = $theirs->up;
	is($status, 0, "up with the database \"$database\" of another server") or diag($said);
	$client->{key} = $theirs->key('operator');
	ok(!-e "$theirs->{run}/pg", 'starts no server of its own');
	is($node->safe_psql($database, "SELECT count(*) FROM pg_extension
		WHERE extname LIKE 'ecommerce%'"), 7, 'creates what it needs');
	$client->reaches($client->order($client->product(5), 1), 'Confirmed');
	is($theirs->down, 0, 'down');
	is_deeply([ $theirs->running ], [], 'stops the programs');
	is($node->safe_psql($database, 'SELECT 1'), 1, 'and leaves the server alone');
}
$node->stop;
done_testing();
