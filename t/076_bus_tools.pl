# The tiny consumer and the producer: a command sent, retried, dead-lettered, corrected
# and redriven; nothing lost when a consumer is killed in between.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('bus_tools');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION ecommerce;
CREATE SCHEMA shop;
CREATE TABLE shop.charged (body jsonb);
CREATE FUNCTION shop.charge(body jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.charged VALUES (body);
	IF NOT body ? 'amount' THEN
		RAISE 'no amount' USING ERRCODE = 'invalid_parameter_value';
	ELSIF (body ->> 'amount')::int < 0 THEN
		RAISE 'not yet' USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
END
$$;
SELECT message_bus.create_endpoint('cards',
	retry => '{"kind": "interval", "limit": 1, "interval": "50 ms"}',
	breaker => '{"kind": "none"}');
SQL
my $dsn = $node->connstr('postgres');

sub start_consumer
{
	my $pid = fork // die "cannot fork: $!";
	if ($pid == 0)
	{
		open STDERR, '>>', $node->basedir . '/busconsume.log';
		exec 'busconsume', "--database=$dsn", '--endpoint=cards',
			'--handlers=ChargeCard=shop.charge',
		  '--poll-interval=100ms', @_
		  or die "cannot run busconsume: $!";
	}
	return $pid;
}

sub send_card
{
	my ($out, $err) = run_command([ 'bussend', "--database=$dsn", '--endpoint=cards', @_ ]);
	is($err, '', 'sent');
	return $out;
}

my $consumer = start_consumer();
send_card('--type=ChargeCard', '--body={"amount": 5}');
my $wrong = send_card('--type=ChargeCard', '--body={"oops": 5}');
send_card('--type=ChargeCard', '--body={"amount": -5}');
send_card('--type=Unheard', '--body={}');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 3 FROM message_bus.dead_letters'),
	'three are dead');
is($node->safe_psql('postgres',
	'SELECT message_type, reason, error_code, attempts
		FROM message_bus.dead_letters ORDER BY 1, 3'),
	"ChargeCard|fault|22023|1\nChargeCard|fault|55000|2\nUnheard|skipped||1",
	'a data error is not retried, another is, an unknown type is skipped');
is($node->safe_psql('postgres', 'SELECT body FROM shop.charged'), '{"amount": 5}',
	'what failed wrote nothing');

my ($redriven) = run_command([ 'bussend', "--database=$dsn", "--redrive=$wrong",
	'--body={"amount": 7}' ]);
is($redriven, '1', 'redriven with a corrected body');
command_fails_like(
	[ 'bussend', "--database=$dsn", '--redrive=00000000-0000-4000-8000-000000000000' ],
	qr/there is no dead letter 00000000-0000-4000-8000/, 'there is no such dead letter');
ok($node->poll_query_until('postgres',
	q{SELECT count(*) = 1 FROM shop.charged WHERE body @> '{"amount": 7}'}),
	'and handled');

# A consumer that is killed again and again: each message takes effect once.
$node->safe_psql('postgres', <<'SQL');
TRUNCATE shop.charged;
SELECT count(message_bus.send('cards', 'ChargeCard', jsonb_build_object('amount', n),
	partition_key => n::text))
FROM generate_series(1, 3000) AS n;
SQL
for my $round (1 .. 5)
{
	my $enough = 300 * $round;
	$node->poll_query_until('postgres', "SELECT count(*) >= $enough FROM shop.charged") or last;
	kill 'KILL', $consumer;
	waitpid $consumer, 0;
	$consumer = start_consumer('--batch=10');
}
ok($node->poll_query_until('postgres', 'SELECT count(*) >= 3000 FROM shop.charged'), 'all handled');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT body) FROM shop.charged}),
	'3000|3000', 'each once');

# A handler that takes longer than the endpoint's timeout is cancelled and failed; the
# others of its batch are handled.
kill 'TERM', $consumer;
waitpid $consumer, 0;
$node->safe_psql('postgres', <<'SQL');
TRUNCATE shop.charged;
CREATE OR REPLACE FUNCTION shop.charge(body jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.charged VALUES (body);
	PERFORM pg_sleep((body ->> 'seconds')::float8);
END
$$;
SELECT message_bus.drop_endpoint('cards', true);
SELECT message_bus.create_endpoint('cards', 1, '{"kind": "none"}', timeout => '5 s');
SQL
$node->safe_psql('postgres', q{
	SELECT message_bus.send('cards', 'ChargeCard', jsonb_build_object('seconds', seconds))
	FROM unnest('{0,1000,0}'::int[]) seconds});
$consumer = start_consumer();
ok($node->poll_query_until('postgres', 'SELECT count(*) = 2 FROM shop.charged'),
	'two are handled');
is( $node->safe_psql('postgres', q{
		SELECT reason, error_code, attempts, (message).body FROM message_bus.dead_letters}),
	'fault|timeout|1|{"seconds": 1000}', 'the third was stopped at the endpoint\'s timeout');

kill 'TERM', $consumer;
waitpid $consumer, 0;
is($?, 0, 'stops on request');
$node->stop;
done_testing();
