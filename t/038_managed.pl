# What docs/managed.md says: a role that owns its database and nothing else, on a server that
# does not preload the library, uses all of it but CREATE EXTENSION itself.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE DATABASE shop OWNER app');

# As the owner: returns what a statement says, or its error.
sub owner
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('shop', $sql, extra_params => [ '-U', 'app' ]);
	return $status ? $err : $out;
}

like(owner('CREATE EXTENSION ecommerce'), qr/permission denied to create extension/,
	'the owner alone cannot create it');
my ($once) = slurp_file('docs/managed.md') =~ /```sql\n(.*?)```/s;
$node->safe_psql('shop', "SET client_min_messages = error; $once");

is(owner('SELECT ecommerce.preloaded()'), 'f', 'nothing is preloaded');
is(owner(q{SELECT version FROM event_store.append('cart-1', 0, 'Opened', '{}')}), 1, 'append');
is(owner(q{SELECT count(*) FROM event_store.read_stream('cart-1')}), 1, 'read');
is(owner(q{SELECT event_store.create_subscription('s');
	SELECT count(*) FROM event_store.fetch('s')}), "\n1", 'subscribe and fetch');
is(owner(q{SELECT message_bus.create_endpoint('work');
	SELECT message_bus.send('work', 'Do', '{}') IS NOT NULL;
	SELECT message_bus.ack(delivery_id) FROM message_bus.receive('work')}),
	"\nt\n1", 'send, receive, ack');
is(owner(q{CREATE TABLE opened (n int);
	CREATE FUNCTION on_event(event event_store.event) RETURNS void LANGUAGE sql
		AS 'INSERT INTO public.opened VALUES (1)';
	SELECT event_store.create_projection('opened', 'on_event(event_store.event)',
		mode => 'async')}), '', 'an async projection');
is(owner(q{SELECT saga.define('one', '{"initial": "Begun",
		"events": {"Go": {"correlate": "$.message.id"}}, "start": {"Go": {"goto": "Begun"}},
		"states": {"Begun": {"kind": "final", "default": "ignore"}}}');
	SELECT message_bus.publish('Go',
		'{"id": "00000000-0000-0000-0000-000000000001"}') IS NOT NULL}),
	"1\nt", 'a saga and its event');
is(owner('SELECT count(*) FROM opened'), 0, 'nothing runs by itself');
isnt(owner('SELECT ecommerce.start_worker()'), '', 'the worker is started by hand');
ok($node->poll_query_until('shop', 'SELECT count(*) = 1 FROM opened'), 'then the projection runs');
ok($node->poll_query_until('shop', q{SELECT current_state = 'Begun' FROM saga.instances}),
	'and the saga');
is(owner('SELECT count(*) FROM event_store.verify()'), 0, 'and verify() finds nothing');
like(owner(q{SELECT ecommerce.preloaded(); SET event_store.max_event_size = '2MB'}),
	qr/permission denied/, 'settings of the server are the superuser\'s');
$node->safe_psql('postgres', q{ALTER DATABASE shop SET event_store.max_event_size = '2MB'});
is(owner('SHOW event_store.max_event_size'), '2MB', 'who gives them to the database');
$node->stop;

done_testing();
