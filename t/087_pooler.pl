# A shop behind a connection pooler that gives each transaction another backend: orders go
# through, and nothing of the daemons stays in a backend that others get afterwards.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run qw(start finish);
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my @services = qw(access order inventory payment shipping notification);
my $shop = Shop->new(name => 'pooler', env => { ECOMMERCE_POLL_INTERVAL => '100ms' });
my $directory = PostgreSQL::Test::Utils::tempdir_short;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = $shop->{node};

open my $users, '>', "$directory/users" or die "cannot write: $!\n";
print $users qq("ecommerce_$_" ""\n) for @services;
close $users;
open my $ini, '>', "$directory/pgbouncer.ini" or die "cannot write: $!\n";
print $ini <<"END";
[databases]
shop = host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=shop
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $directory
auth_type = trust
auth_file = $directory/users
pool_mode = transaction
default_pool_size = 2
server_round_robin = 1
logfile = $directory/log
END
close $ini;

my $said = '';
my $pooler = start([ 'pgbouncer', "$directory/pgbouncer.ini" ], '>', \$said, '2>', \$said);

# Also when the test gives up.
END
{
	my $status = $?;
	$pooler->kill_kill if $pooler;
	$? = $status;
}
my $pooled = "host=$directory port=$port dbname=shop";

# What a user of the pooler finds in the backend that it happens to get.
sub finds
{
	my ($service) = @_;
	return $node->safe_psql('shop', q{SELECT concat_ws(' ', current_setting('search_path'),
		current_setting('statement_timeout'),
		current_setting('idle_in_transaction_session_timeout'),
		coalesce(nullif(current_setting('ecommerce.source', true), ''), 'none'),
		(SELECT count(*) FROM pg_listening_channels()),
		(SELECT count(*) FROM pg_prepared_statements))},
		connstr => "$pooled user=ecommerce_$service");
}

$shop->until('the pooler answers', sub { -S "$directory/.s.PGSQL.$port" });
my %before = map { $_ => finds($_) } @services;

$shop->{server} = $pooled;
$shop->start;
my $product = $shop->product(100);
my @orders = map { $shop->order($product, 1) } 1 .. 5;
$shop->reaches($_, 'Confirmed') for @orders;
is($shop->stock($product), '95/0/95', 'each has its piece');

# Each role has two backends at most, which take turns.
for my $service (@services)
{
	is(finds($service), $before{$service}, "nothing of ${service}d stays in a backend")
	  for 1 .. 4;
}

# Backends that vanish cost a batch and a new connection.
$shop->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE usename LIKE 'ecommerce\_%' AND backend_type = 'client backend'});
my $again = $shop->until('an order is taken again', sub {
	my $reply = $shop->call('order', 'POST', '/orders', $shop->order_body($product, 1));
	$reply->{status} == 202 && $reply->{body}{order_id};
});
$shop->reaches($again, 'Confirmed');

$shop->stop;
done_testing();
