# Other extensions want callbacks of PostgreSQL too, of which a process has few.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A neighbour that takes all but what PostgreSQL and one extension need of the ten.
my $directory = PostgreSQL::Test::Utils::tempdir();
my $include = `pg_config --includedir-server` =~ s/\s+$//r;
open my $source, '>', "$directory/neighbour.c" or die "cannot write: $!";
print $source <<'C';
#include "postgres.h"
#include "fmgr.h"
#include "utils/inval.h"

PG_MODULE_MAGIC;
void _PG_init(void);

static void
hear(Datum arg, Oid relation)
{
}

void
_PG_init(void)
{
	for (int i = 0; i < 6; i++)
		CacheRegisterRelcacheCallback(hear, (Datum) 0);
}
C
close $source;
system('cc', '-shared', '-fPIC', "-I$include", '-o', "$directory/neighbour.so",
	"$directory/neighbour.c") == 0 or die 'cannot build the neighbour';
chmod 0755, $directory;

# Everything that ever wanted a callback, in one session.
my $everything = q{
	SELECT event_store.create_aggregate('order', '{}');
	CREATE FUNCTION apply(jsonb, event_store.event) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
	SELECT event_store.create_event_handler('order', 'OrderPlaced',
		'apply(jsonb, event_store.event)');
	CREATE FUNCTION seen(event_store.event) RETURNS void LANGUAGE sql AS '';
	SELECT event_store.create_projection('p', 'seen(event_store.event)',
		mode => 'inline');
	SELECT event_store.append('order-1', -1, 'OrderPlaced', '{}');
	SELECT event_store.load('order-1');
	SELECT message_bus.create_endpoint('e');
	SELECT message_bus.send('e', 'Hello', '{}');
	SELECT saga.define('s', '{"events": {"Go": {}}, "initial": "A", "start": {"Go": {"goto": "A"}},
		"states": {"A": {"kind": "final", "default": "ignore"}}}');
	SELECT message_bus.publish('Go', '{}');
	CALL event_store.wait(0, '0 s');
};

my $node = PostgreSQL::Test::Cluster->new('neighbours');
$node->init;
for my $libraries ("$directory/neighbour.so, ecommerce", "ecommerce, $directory/neighbour.so",
	"ecommerce")
{
	my $late = $libraries eq 'ecommerce';

	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$libraries'\n"
		. 'session_preload_libraries = ' . ($late ? "'$directory/neighbour.so'" : "''"));
	$node->start;
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS shop');
	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->safe_psql('shop', 'CREATE EXTENSION ecommerce');
	my ($code, $out, $err) = $node->psql('shop', $everything, on_error_stop => 1);
	is($err, '', 'a session does everything beside a neighbour, '
		. ($late ? 'which came late'
			: $libraries =~ /^ecommerce/ ? 'loaded after us' : 'loaded before us'));
	ok($node->poll_query_until('shop', q{SELECT count(*) = 1 FROM saga.instance}),
		'and the workers too');
	$node->stop;
}
unlike(slurp_file($node->logfile), qr/out of \w+_callback_list slots/, 'there is room for all');

done_testing();
