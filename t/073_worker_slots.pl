# max_worker_processes is used up: by others, so that a database has no worker at all, or has one
# and no runner. The log says so, once; what needs no worker goes on, and what the main worker can
# do in a runner's place it does.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('slots');
# The launchers of logical replication and ours take one each.
$node->init;
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'ecommerce'\nmax_worker_processes = 2");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION ecommerce;
	CREATE TABLE got (at bigint);
	CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE sql
	AS $$ INSERT INTO public.got VALUES ((event).position) $$;
	SELECT event_store.create_projection('p', 'note(event_store.event)', 'a');
	SELECT message_bus.create_endpoint('e')});

sub append
{
	$node->safe_psql('postgres', q{SELECT event_store.append('a-1', -1, 'Added', '{}');
		SELECT message_bus.send('e', 'T', '{}')});
}

sub problems
{
	return $node->safe_psql('postgres',
		q{SELECT string_agg(kind, ' ') FROM ecommerce.problems WHERE kind LIKE 'worker%'});
}

my $none = qr/no slot of max_worker_processes is free for the ecommerce worker of database \d+/;
my $no_runner = qr/no slot of max_worker_processes is free for a runner/;

append();
ok($node->wait_for_log($none), 'no slot for the worker: the log says so');
is(problems(), 'worker_missing', 'and ecommerce.problems');
is($node->safe_psql('postgres', q{SELECT count(*) FROM event_store.read_all();
		SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('e')}),
	"1\n1", 'events and messages need none');

$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
my $from = -s $node->logfile;
$node->restart;
ok($node->wait_for_log($no_runner, $from), 'no slot for a runner: the log says so');
for my $count (2 .. 4)
{
	append();
	ok($node->poll_query_until('postgres', "SELECT count(*) = $count FROM got"),
		'the worker runs the projection itself');
}
is(scalar(() = slurp_file($node->logfile, $from) =~ /$no_runner/g), 1, 'once');
is(problems(), '', 'a worker is there');

$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$from = -s $node->logfile;
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
		WHERE backend_type = 'ecommerce runner'}), 'with slots there is a runner');
append();
ok($node->poll_query_until('postgres', 'SELECT count(*) = 5 FROM got'), 'which runs it');
unlike(slurp_file($node->logfile, $from), qr/no slot/, 'and all is well');
$node->stop;
done_testing();
