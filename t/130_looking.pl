# What operators look at costs the same at any size: pages that are touched, in a store that
# t/big_store.sql has filled. LOOKING_SCALE multiplies it: 1 is 200 000 events, 20 000 streams,
# 50 000 messages that nobody takes, 20 000 dead letters and 5000 running sagas; `make
# check-looking` takes 50.
use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $scale = $ENV{LOOKING_SCALE} // 1;
my %rows =
  (events => 200_000, streams => 20_000, backlog => 50_000, dead => 20_000, sagas => 5000);

# 5 ms of CPU: a page that is found in memory, and what lies on it, takes a microsecond or two.
my $bound = 3000;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'END');
shared_preload_libraries = 'ecommerce'
shared_buffers = 512MB
max_wal_size = 4GB
fsync = off
autovacuum = off
END
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
$node->psql('postgres', slurp_file("$FindBin::RealBin/big_store.sql"),
	on_error_die => 1, timeout => 3600,
	extra_params => [ map { ('-v', "$_=" . $rows{$_} * $scale) } sort keys %rows ]);

# The first of a list.
sub first
{
	my ($list) = @_;
	return $node->safe_psql('postgres', "SELECT $list(max => 1)");
}

# The pages that a query touches, when what it needs to know about tables is known.
sub pages
{
	my ($query) = @_;
	my $out = $node->safe_psql('postgres',
		"$query;\nEXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) $query");
	my ($json) = $out =~ /^(\[\n.*\])\z/ms or die "no plan of $query: $out";
	my $plan = decode_json($json)->[0];

	return ($plan->{Plan}{'Shared Hit Blocks'} + $plan->{Plan}{'Shared Read Blocks'},
		$plan->{'Execution Time'});
}

my $newest = first('correlation_id FROM event_store.newest');
my $saga = first('correlation_id FROM saga.list');
my $dead = first('message_id FROM message_bus.list_dead');
my $trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
my @queries = (
	'ecommerce.problems', 'ecommerce.overview()', 'ecommerce.metrics()',
	"ecommerce.story('$newest')", "ecommerce.story('$saga')",
	"ecommerce.find('$newest')", "ecommerce.find('$dead')", "ecommerce.find('order')",
	"ecommerce.find('77')", "ecommerce.find('$trace')",
	"event_store.read_all(backward => true, max_count => 50)",
	"event_store.read_all(0, 50, 'order', backward => true)",
	"event_store.newest()", "event_store.newest('order')", "event_store.newest('order', '{Rare}')",
	"event_store.newest(NULL, '{Rare}')", "event_store.list_streams()",
	"event_store.list_streams('order')", "event_store.list_streams('order', 'order-0000')",
	"event_store.categories()", "event_store.event_types()", "event_store.event_types('order')",
	"event_store.rates(now() - interval '30 min', '1 min')",
	"event_store.subscriptions WHERE name = 'far behind'",
	"message_bus.endpoints", "message_bus.endpoints WHERE name = 'failing'", "message_bus.ring",
	"message_bus.consumers", "message_bus.circuit_breakers",
	"message_bus.peek('backlog')", "message_bus.peek('backlog', 'leased')",
	"message_bus.peek('backlog', 'scheduled')", "message_bus.list_dead()",
	q{message_bus.list_dead('{"endpoint": "failing"}')},
	q{message_bus.list_dead('{"endpoint": "failing", "message_type": "Fail1", "reason": "fault",
		"error_code": "code1"}')},
	q{message_bus.list_dead('{"error": "nowhere"}')}, "message_bus.dead_groups()",
	q{message_bus.count_dead('{"endpoint": "failing"}')},
	"message_bus.dead_groups('idle')", q{message_bus.count_dead('{"endpoint": "idle"}')},
	"message_bus.endpoints WHERE name = 'idle'", "message_bus.flow()",
	"saga.overview()", "saga.list()", "saga.list('big', 'Working')", "saga.list('big', 'Never')",
	"saga.stuck");
for my $query (@queries)
{
	my ($pages, $time) = pages("SELECT * FROM $query");

	$query =~ s/\s+/ /g;
	cmp_ok($pages, '<=', $bound, "$query: $pages pages, $time ms");
}

# What is looked at is there.
is( $node->safe_psql('postgres',
		q{SELECT count(*) > 0 AND bool_and(reason = 'overdue') FROM saga.stuck}),
	't', 'stuck instances are found');
my $found = 0;
my ($key, $calls) = ('NULL', 0);
while ($calls++ < $rows{events} * $scale / 2000 + 2)
{
	my ($rows, $next) = split /\|/, $node->safe_psql('postgres',
		"SELECT count(event_id), min(key::bigint) FROM event_store.newest(NULL, '{Rare}', $key)");
	$found += $rows;
	last if ($next // '') eq '';
	$key = "'$next'";
}
is($found, int(($rows{events} * $scale - 77) / 100_000) + 1,
	'bookmarks lead to every rare event');

$node->stop;
done_testing();
