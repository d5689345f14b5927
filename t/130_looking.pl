# What operators look at costs the same at any size: pages that are touched, in a store that
# BigStore.pm has filled. LOOKING_SCALE multiplies it: 1 is 200 000 events, 20 000 streams,
# 50 000 messages that nobody takes, 20 000 dead letters and 5000 running sagas; `make
# check-looking` takes 50.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use BigStore;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $scale = $ENV{LOOKING_SCALE} // 1;
my $events = BigStore::rows('events', $scale);

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
BigStore::fill($node, 'postgres', $scale, 'big_store.sql');

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

# None of them touches more than so much.
sub constant
{
	my ($what, $most, @asked) = @_;
	for my $query (@asked)
	{
		my ($pages, $time) = pages("SELECT * FROM $query");

		$query =~ s/\s+/ /g;
		cmp_ok($pages, '<=', $most, "$what$query: $pages pages, $time ms");
	}
	return;
}

constant('', $bound, @queries);

# What is looked at is there.
is( $node->safe_psql('postgres',
		q{SELECT count(*) > 0 AND bool_and(reason = 'overdue') FROM saga.stuck}),
	't', 'stuck instances are found');
is($node->safe_psql('postgres', q{
	CREATE FUNCTION pg_temp.all_rare() RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		last text;
		page record;
		found int := 0;
	BEGIN
		LOOP
			SELECT count(event_id) AS n, min(key::bigint)::text AS key INTO page
			FROM event_store.newest(NULL, '{Rare}', last);
			found := found + page.n;
			EXIT WHEN page.key IS NULL;
			last := page.key;
		END LOOP;
		RETURN found;
	END $$;
	SELECT pg_temp.all_rare()}), int(($events - 77) / 100_000) + 1,
	'bookmarks lead to every rare event');

# And with hundreds of endpoints, each with dead letters, and thousands of subscriptions: somewhat
# more, and no more with thousands and ten thousands.
BigStore::fill($node, 'postgres', $scale, 'big_many.sql');
BigStore::vacuumed($node, 'postgres', 'message_bus.dead');
constant('many: ', 2 * $bound, 'ecommerce.problems', 'ecommerce.overview()', 'ecommerce.metrics()',
	'message_bus.dead_groups()', q{message_bus.list_dead('{"endpoint": "many-77"}')},
	'message_bus.flow()', q{message_bus.peek('backlog')},
	"message_bus.endpoints WHERE name = 'many-77'");
is($node->safe_psql('postgres', q{SELECT count(*),
		count(*) FILTER (WHERE object LIKE '% more subscriptions'),
		bool_or(holds_up LIKE '%others, which have read further, were not looked at.')
		FROM ecommerce.problems WHERE kind = 'subscription_behind'}), '21|1|t',
	'those that are furthest behind, and how many more');
is($node->safe_psql('postgres', q{SELECT kind, count(*),
			max(object) FILTER (WHERE object ~ 'more$')
		FROM ecommerce.problems WHERE kind IN ('parked_events', 'dead_letters')
		GROUP BY 1 ORDER BY 1}),
	"dead_letters|26|25+ more\nparked_events|26|5 more", 'none of a kind hides the others');
is($node->safe_psql('postgres', q{SELECT count(*) FROM ecommerce.all_problems
		WHERE kind = 'dead_letters'}), 50, 'as many as were looked at can be seen');

# What was given up is passed over, however much of it failed before the first that is to go.
$node->safe_psql('postgres', q{
	UPDATE message_bus.dead d SET reason = 'discarded' FROM message_bus.endpoint e
	WHERE e.endpoint_id = d.endpoint_id AND e.name = 'failing' AND d.last_failed_at < (
		SELECT percentile_disc(0.9) WITHIN GROUP (ORDER BY f.last_failed_at)
		FROM message_bus.dead f WHERE f.endpoint_id = e.endpoint_id)});
$node->safe_psql('postgres', 'VACUUM (ANALYZE) message_bus.dead');
constant('passed over: ', $bound / 10,
	q{message_bus.redrive_matching('{"endpoint": "failing"}', max => 1)});
is($node->safe_psql('postgres', q{SELECT message_id IS NOT NULL, result
	FROM message_bus.redrive_matching('{"endpoint": "failing"}', max => 1)}), 't|redriven',
	'and the first to go is found');

$node->stop;
done_testing();
