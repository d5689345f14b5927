# LISTEN: the background worker, and never the appender, tells of new events; at
# most once per channel and interval; the last word is the newest mark; categories
# that an open appender has nothing to do with go on.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use constant INTERVAL => 0.1;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding', 'UTF8', '--no-locale' ]);
$node->append_conf(
	'postgresql.conf', q{
shared_preload_libraries = 'ecommerce'
event_store.notify_interval = 100
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
ok($node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'ecommerce worker'
			AND datname = current_database() AND wait_event = 'Extension'}),
	'the worker runs');

sub append
{
	my ($stream, $count) = @_;
	return $node->safe_psql('postgres',
		"SELECT max(position) FROM generate_series(1, $count),
			LATERAL event_store.append('$stream', -1, 'A', '{}')");
}

# What a listener has received so far: [channel, payload, pid].
my $listener = $node->background_psql('postgres');
my @received;

sub receive
{
	# The pause keeps the log short, nothing depends on it.
	my $output = $listener->query_safe('SELECT pg_sleep(0.01)');

	push @received, [ $1, $2, $3 ]
	  while $output =~ /notification "([^"]*)" with payload "([^"]*)" received .* PID (\d+)/g;
	return;
}

# Polls until a channel has got a payload; answers what it got since the last reset.
sub receive_until
{
	my ($channel, $payload) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (!grep { $_->[0] eq $channel && $_->[1] eq $payload } @received)
	{
		return 0 if time > $deadline;
		receive();
	}
	return 1;
}

sub payloads
{
	my ($channel) = @_;
	return map { $_->[1] } grep { $_->[0] eq $channel } @received;
}

my $long = 'ü' x 100;
my $long_channel = $node->safe_psql('postgres', "SELECT event_store.channel('$long')");
$listener->query_safe($_) for 'LISTEN event_store', 'LISTEN "event_store.order"',
  'LISTEN "event_store.stock"', qq{LISTEN "$long_channel"};

my $position = append('order-1', 1);
ok(receive_until('event_store.order', $position), 'a new event, on the channel of its category');
ok(receive_until('event_store', $position), 'and on the channel of all');
is_deeply([ payloads('event_store.stock') ], [], 'not on that of another category');
is_deeply(
	[ grep { !/^\d+$/ } map { $_->[1] } @received ],
	[], 'the payload is the mark as text');
my %senders = map { $_->[2] => 1 } @received;
is( $node->safe_psql('postgres',
		"SELECT string_agg(DISTINCT backend_type, ',') FROM pg_stat_activity WHERE pid IN ("
		  . join(', ', keys %senders) . ')'),
	'ecommerce worker',
	'they come from the worker');

$position = append("$long-1", 1);
ok(receive_until($long_channel, $position), 'a category too long for a channel has one too');

# A burst: bounded in number, and the last one is not lost.
@received = ();
my $start = time;
$position = append('stock-1', 20) for 1 .. 50;
ok(receive_until('event_store.stock', $position), 'the end of a burst is told');
ok(receive_until('event_store', $position), 'on both channels');
my $intervals = (time - $start) / INTERVAL;
for my $channel ('event_store', 'event_store.stock')
{
	my @got = payloads($channel);

	cmp_ok(scalar @got, '<=', $intervals + 2, "$channel: at most one per interval");
	is_deeply(\@got, [ sort { $a <=> $b } @got ], "$channel: marks never go back");
}
is_deeply([ payloads('event_store.order') ], [], 'a category without news is silent');

# While an appender is open.
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT event_store.append('stock-2', 0, 'A', '{}')");
@received = ();
$position = append('order-1', 1);
ok(receive_until('event_store.order', $position), 'another category is told at once');
is_deeply([ payloads('event_store'), payloads('event_store.stock') ],
	[], 'who reads all, or the category held, is not');
is( $node->safe_psql('postgres', 'SELECT event_store.high_water_mark() < ' . $position),
	't', 'for there is nothing to read');
$holder->query_safe('COMMIT');
ok(receive_until('event_store', $position), 'they are told when it has committed');
ok(receive_until('event_store.stock', $position), 'also on the category held');

# A rollback lets go as well.
$holder->query_safe("BEGIN; SELECT event_store.append('stock-2', 1, 'A', '{}')");
$position = append('order-1', 1);
@received = ();
$holder->query_safe('ROLLBACK');
ok(receive_until('event_store', $position), 'and when it has rolled back');

# Another worker takes over when this one is gone; who was listening asks once.
my ($old) = keys %senders;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
ok($node->poll_query_until('postgres',
		qq{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'ecommerce worker'
			AND datname = current_database() AND wait_event = 'Extension' AND pid <> $old}),
	'another worker takes over');
@received = ();
$position = append('order-1', 1);
ok(receive_until('event_store.order', $position), 'and tells of what comes next');

$listener->quit;
$holder->quit;
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
