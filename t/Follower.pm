# A logical subscriber of the extension's tables and of some of a test's: a database of
# the same server that has plain tables of the same columns, and the questions whether
# it came to a stop and whether it has what the publisher has.
package Follower;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

my $of_ours = q{c.relkind = 'r' AND c.relnamespace IN (SELECT oid FROM pg_namespace
	WHERE nspname IN ('event_store', 'message_bus', 'saga', 'day'))};

sub new
{
	my ($class, $node) = @_;
	my $self = bless { node => $node }, $class;

	$node->safe_psql('postgres', 'CREATE DATABASE follower');
	# Our own types are text there: rows travel as text.
	$node->safe_psql('follower', $node->safe_psql('postgres', qq{
		SELECT format('CREATE SCHEMA IF NOT EXISTS %I;', c.relnamespace::regnamespace)
		FROM pg_class c WHERE $of_ours
		UNION ALL
		SELECT format('CREATE TABLE %s (%s)%s;', c.oid::regclass,
			string_agg(format('%I %s', a.attname, CASE t.typnamespace
				WHEN 'pg_catalog'::regnamespace THEN format_type(t.oid, a.atttypmod)
				ELSE 'text' END), ', ' ORDER BY a.attnum),
			(SELECT format('; ALTER TABLE %s ADD PRIMARY KEY (%s)', c.oid::regclass,
				string_agg(quote_ident(k.attname), ', ' ORDER BY k.attnum))
			 FROM pg_index i JOIN pg_attribute k ON k.attrelid = i.indexrelid
			 WHERE i.indrelid = c.oid AND (i.indisreplident OR i.indisprimary
				AND c.relreplident = 'd') HAVING count(*) > 0))
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
			AND NOT a.attisdropped
		JOIN pg_type t ON t.oid = a.atttypid WHERE $of_ours GROUP BY c.oid}));
	$node->safe_psql('follower', qq{ALTER TABLE $_ REPLICA IDENTITY FULL})
	  for split /\n/, $node->safe_psql('postgres',
		qq{SELECT c.oid::regclass FROM pg_class c WHERE $of_ours AND c.relreplident = 'f'});
	$node->safe_psql('postgres', q{CREATE PUBLICATION followed
		FOR TABLES IN SCHEMA event_store, message_bus, saga, day});
	# A slot that belongs to a subscription of the same server is made beforehand.
	$node->safe_psql('postgres',
		q{SELECT pg_create_logical_replication_slot('follower', 'pgoutput')});
	$node->safe_psql('follower', "CREATE SUBSCRIPTION follower CONNECTION '"
		. $node->connstr('postgres') =~ s/'//gr . " application_name=follower' PUBLICATION followed"
		. q{ WITH (create_slot = false, slot_name = 'follower')});
	$node->wait_for_subscription_sync($node, 'follower', 'follower');
	return $self;
}

# What stopped it, if anything did: a row for each table whose contents differ once it has
# caught up.
sub complaints
{
	my ($self, @tables) = @_;
	my $node = $self->{node};
	my %columns = map { $_ => $node->safe_psql('postgres', qq{
		SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = '$_'::regclass AND attnum > 0 AND NOT attisdropped}) } @tables;
	my $content = sub {
		my ($database) = @_;
		return join '; ', map { "$_ " . $node->safe_psql($database, qq{
			SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text))
			FROM (SELECT $columns{$_} FROM $_) t}) } @tables;
	};
	# Its connection may well have been cut, which it tells otherwise.
	my ($stopped) = slurp_file($node->logfile)
	  =~ /^(.*\n.*processing remote data for replication origin.*)$/m;

	return $stopped if $stopped;
	$node->wait_for_catchup('follower');
	my ($have, $want) = ($content->('follower'), $content->('postgres'));
	return $have eq $want ? '' : "$have\ninstead of\n$want";
}

# Lets the server be stopped without it.
sub leave
{
	my ($self) = @_;

	$self->{node}->safe_psql('follower', $_)
	  for 'ALTER SUBSCRIPTION follower DISABLE',
	  'ALTER SUBSCRIPTION follower SET (slot_name = NONE)', 'DROP SUBSCRIPTION follower';
	return;
}

1;
