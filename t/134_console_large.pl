# Every list in the browser, in a store that big_store.sql has filled: two pages of each are
# shown and none is refused, and no statement of the console's touches more pages of the
# database than it does anywhere. LOOKING_SCALE multiplies the store, see 130_looking.pl.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Console;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $scale = $ENV{LOOKING_SCALE} // 0.25;
my %rows = (events => 200_000, streams => 20_000, backlog => 50_000, dead => 20_000,
	sagas => 5000, orders => 20_000);

# What a new connection has to learn of the functions it calls counts too; a table of this store
# that is read as a whole, at full scale, is ten times as much.
my $bound = 6000;

my $shop = Shop->new(name => 'large', conf => <<'END');
shared_preload_libraries = 'ecommerce, pg_stat_statements'
shared_buffers = 512MB
max_wal_size = 4GB
fsync = off
autovacuum = off
END
my $node = $shop->{node};
for my $file (qw(big_store big_shop))
{
	$node->psql('shop', slurp_file("$FindBin::RealBin/$file.sql"), on_error_die => 1,
		timeout => 3600,
		extra_params => [ map { ('-v', "$_=" . $rows{$_} * $scale) } sort keys %rows ]);
}
$shop->sql('CREATE EXTENSION pg_stat_statements');
# As it is when autovacuum has been there; who looks on meanwhile may be in its way.
for my $table (qw(message_bus.dead event_store.stored_event ecommerce_order.order_summary
	ecommerce_inventory.product))
{
	$shop->until("$table is vacuumed", sub { $shop->sql("VACUUM $table");
		$shop->sql("SELECT relallvisible > 0.9 * relpages FROM pg_class
			WHERE oid = '$table'::regclass") eq 't' });
}
my $console = Console->new($shop, operator => 'ecommerce_admin');
$console->start('--actions');

my ($id, $instance, $letter) = split /\|/, $shop->sql("SELECT
	(SELECT correlation_id FROM event_store.newest(max => 1)),
	(SELECT correlation_id FROM saga.list('big', max => 1)),
	(SELECT message_id FROM message_bus.list_dead(max => 1))");
$console->browse('console_large.mjs', { id => $id, instance => $instance, letter => $letter,
		full => 50 });

for my $line (split /\n/, $shop->sql(q(SELECT (shared_blks_hit + shared_blks_read) / calls,
		round(mean_exec_time::numeric, 1),
		left(regexp_replace(query, '\s+', ' ', 'g'), 150)
	FROM pg_stat_statements JOIN pg_roles r ON r.oid = userid
	WHERE r.rolname IN ('operator', 'ecommerce_console') AND query ~ 'SELECT' ORDER BY 1 DESC)))
{
	my ($pages, $ms, $query) = split /\|/, $line, 3;

	cmp_ok($pages, '<=', $bound, "$query: $pages pages, $ms ms");
}
$console->stop;
done_testing();
