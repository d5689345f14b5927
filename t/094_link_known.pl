# What a link brings is looked for in all segments of the target's ring, a batch at once.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
my $depth = q{SELECT depth FROM message_bus.endpoints WHERE name = 'known'};

# Sends messages with these numbers as their ids.
sub send_numbers
{
	my ($numbers) = @_;
	return $node->safe_psql('postgres', "SELECT count(message_bus.send('known', 'T', '{}',
		lpad(n::text, 32, '0')::uuid)) FROM unnest('{$numbers}'::int[]) n");
}

# A link brings such messages, after the position where it is.
sub bring
{
	my ($position, $numbers) = @_;
	return $node->safe_psql('postgres', qq{SELECT message_bus.accept('link', 0, $position,
		$position + 1, (SELECT array_agg(jsonb_populate_record(NULL::message_bus.message,
			jsonb_build_object('message_id', lpad(n::text, 32, '0'), 'message_type', 'T', 'body',
				jsonb_build_object('n', n)))) FROM unnest('{$numbers}'::int[]) n))});
}

$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
message_bus.dedupe_window = 100ms
EOT
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION ecommerce});
$node->safe_psql('postgres', q{SELECT message_bus.create_endpoint('known', 1),
	message_bus.create_endpoint('filled', 1),
	message_bus.create_link('link', 'elsewhere', 'out', 'known')});
send_numbers('1,2,3');
# Nobody reads these, so that the segment stays.
$node->safe_psql('postgres', q{SELECT count(message_bus.send('filled', 'T', '{}',
	partition_key => 'k')) FROM generate_series(1, 10000)});
ok($node->poll_query_until('postgres',
	q{SELECT count(*) > 1 FROM message_bus.ring WHERE state <> 'free'}), 'the ring turns');
send_numbers('4,5');
is($node->safe_psql('postgres', $depth), 5, 'messages are in two of its segments');

# Whichever of the two is looked into first.
is(bring(0, '4,1,6,3,5,2,7'), 7, 'a batch is accepted');
is($node->safe_psql('postgres', $depth), 7, 'what was there is not taken again, what is new is');
is(bring(1, '1,4,8'), 3, 'and another one');
is($node->safe_psql('postgres', $depth), 8, 'likewise');
done_testing();
