# What a DBA and his tools do to a database in a day, as one list of statements, and
# a process that does them one after the other at random.
#
# Each entry: what it is called, and SQL, where {table} stands for a random one of ours,
# {index} and {column} for one of the table's and {dba} for a new name; or a function.
package DbaDay;

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

# A role of somebody who has registered a handler of his own.
my $registers = <<'EOT';
CREATE ROLE {dba} IN ROLE ecommerce_admin;
SET ROLE {dba};
CREATE FUNCTION dba.{dba}(state jsonb, event event_store.event) RETURNS jsonb
	LANGUAGE sql AS 'SELECT state';
SELECT event_store.create_aggregate('{dba}');
SELECT event_store.create_event_handler('{dba}', 'A', 'dba.{dba}(jsonb, event_store.event)');
SELECT version FROM event_store.append('{dba}-1', 0, 'A', '{}');
SELECT version FROM event_store.load('{dba}-1');
RESET ROLE;
EOT

my @actions = (
	[ 'reindex table' => 'REINDEX TABLE CONCURRENTLY {table}' ],
	[ 'reindex table, locked' => 'REINDEX TABLE {table}' ],
	[ 'reindex index' => 'REINDEX INDEX CONCURRENTLY {index}' ],
	[ 'create index' => 'CREATE INDEX CONCURRENTLY {dba} ON {table} ({column})' ],
	[ 'create partial index' =>
		  'CREATE INDEX {dba} ON {table} ({column}) WHERE {column} IS NOT NULL' ],
	[ 'create expression index' =>
		  'CREATE INDEX {dba} ON {table} (pg_catalog.upper({column}::text))' ],
	[ 'drop indexes' => '{drop_indexes}' ],
	[ 'vacuum' => 'VACUUM (FREEZE, ANALYZE) {table}' ],
	[ 'vacuum full' => 'VACUUM FULL {table}' ],
	[ 'cluster' => 'CLUSTER {table} USING {index}' ],
	[ 'analyze' => 'ANALYZE' ],
	[ 'add column' => 'ALTER TABLE {table} ADD COLUMN {dba} int' ],
	[ 'add column with default' => 'ALTER TABLE {table} ADD COLUMN {dba} text DEFAULT \'x\'' ],
	[ 'drop columns' => '{drop_columns}' ],
	[ 'add trigger' =>
		  'CREATE TRIGGER {dba} AFTER INSERT OR UPDATE OR DELETE ON {table} '
		  . 'FOR EACH ROW EXECUTE FUNCTION dba.note()' ],
	[ 'drop triggers' => '{drop_triggers}' ],
	[ 'storage' => 'ALTER TABLE {table} SET (fillfactor = 70, autovacuum_enabled = off)' ],
	[ 'statistics' => 'ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 500' ],
	[ 'lock' => 'BEGIN; LOCK TABLE {table} IN SHARE MODE; SELECT pg_sleep(0.3); COMMIT' ],
	[ 'report' =>
		  'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM {table}; '
		  . 'SELECT pg_sleep(2); SELECT count(*) FROM {table}; COMMIT' ],
	[ 'publish' => 'CREATE PUBLICATION dba FOR ALL TABLES' ],
	[ 'publish no more' => 'DROP PUBLICATION IF EXISTS dba' ],
	[ 'repack' => \&_repack ],
	[ 'role' => 'CREATE ROLE {dba} IN ROLE ecommerce_writer; GRANT SELECT ON {table} TO {dba}; '
		  . 'REASSIGN OWNED BY {dba} TO postgres; DROP OWNED BY {dba}; DROP ROLE {dba}' ],
	[ 'role that answers for code' => $registers . 'REASSIGN OWNED BY {dba} TO postgres; '
		  . 'DROP OWNED BY {dba}; DROP ROLE {dba}' ],
	[ 'role that goes with its code' => $registers
		  . 'DROP OWNED BY {dba} CASCADE; DROP ROLE {dba}' ],
	[ 'update extension' => 'ALTER EXTENSION ecommerce UPDATE' ],
	(map { [ 'setting' => "ALTER DATABASE postgres SET $_" ] }
		q{timezone = 'Asia/Kathmandu'}, q{search_path = dba, public}, q{datestyle = 'German'},
		q{statement_timeout = '300 ms'}, q{lock_timeout = '20 ms'}, q{work_mem = '64 kB'},
		q{enable_seqscan = off}, q{row_security = off}, q{synchronous_commit = off},
		q{default_transaction_isolation = 'repeatable read'}, q{bytea_output = 'escape'}),
	([ 'settings of old' => 'ALTER DATABASE postgres RESET ALL' ]) x 4,
	[ 'terminate' => q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name IN ('load', 'consumer', 'producer') ORDER BY random() LIMIT 1} ],
	[ 'terminate a worker' => q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type LIKE 'ecommerce%' ORDER BY random() LIMIT 1} ],
	[ 'cancel' => q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE pid <> pg_backend_pid() AND datname = 'postgres' ORDER BY random() LIMIT 1} ],
	[ 'checkpoint' => 'CHECKPOINT; SELECT pg_switch_wal()' ],
	[ 'reload' => 'SELECT pg_reload_conf()' ],
);

# Drops everything of one kind that we have made.
my %cleaners = (
	drop_indexes => q{SELECT format('DROP INDEX IF EXISTS %s', indexrelid::regclass)
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname ~ '^dba_|_ccnew'},
	drop_columns => q{SELECT format('ALTER TABLE %s DROP COLUMN IF EXISTS %I', attrelid::regclass,
		attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE attname ~ '^dba_' AND NOT attisdropped AND c.relkind = 'r'},
	drop_triggers => q{SELECT format('DROP TRIGGER IF EXISTS %I ON %s', tgname, tgrelid::regclass)
		FROM pg_trigger WHERE tgname ~ '^dba_|^repack_trigger'},
);

# follower: a database that subscribes to this one.
sub new
{
	my ($class, $node, $follower) = @_;
	my $self = bless { node => $node, follower => $follower,
		log => PostgreSQL::Test::Utils::tempdir() . '/dba',
		pids => [] }, $class;

	$node->safe_psql('postgres', <<'EOT');
CREATE EXTENSION amcheck;
CREATE EXTENSION pg_repack;
CREATE SCHEMA dba;
CREATE TABLE dba.noted (what text, at timestamptz DEFAULT now());
CREATE FUNCTION dba.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO dba.noted (what) VALUES (TG_OP);
	RETURN NULL;
END
$$;
GRANT USAGE ON SCHEMA dba TO PUBLIC;
GRANT CREATE ON SCHEMA dba TO ecommerce_admin;
GRANT INSERT ON dba.noted TO PUBLIC;
EOT
	$self->{tables} = [ split /\n/, $node->safe_psql('postgres', q{
		SELECT c.oid::regclass FROM pg_class c
		WHERE c.relkind = 'r' AND c.relnamespace IN ('event_store'::regnamespace,
			'message_bus'::regnamespace, 'saga'::regnamespace) ORDER BY 1}) ];
	return $self;
}

# One of the table's names of a kind; undef if there is none.
sub _one
{
	my ($self, $sql) = @_;
	my ($rc, $out) = $self->{node}->psql('postgres', "$sql ORDER BY random() LIMIT 1");

	return $out || undef;
}

sub _statement
{
	my ($self, $template, $name) = @_;
	my $table = $self->{tables}[ int rand @{ $self->{tables} } ];
	my %values = (table => $table, dba => $name);

	if (my ($cleaner) = $template =~ /^\{(drop_\w+)\}/)
	{
		my (undef, $out) = $self->{node}->psql('postgres', $cleaners{$cleaner});
		return join ";\n", split /\n/, $out // '';
	}
	$values{index} = $self->_one("SELECT indexrelid::regclass FROM pg_index
		WHERE indrelid = '$table'::regclass") if $template =~ /\{index\}/;
	$values{index} =~ s/^\w+\.// if $values{index} && $template =~ /CLUSTER/;
	$values{column} = $self->_one("SELECT quote_ident(attname) FROM pg_attribute
		WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped")
	  if $template =~ /\{column\}/;
	my $missing = 0;
	$template =~ s/\{(\w+)\}/$values{$1} \/\/ do { $missing = 1; '' }/ge;
	return $missing ? undef : $template;
}

# One table, with Debian's program; one without a unique key it refuses.
sub _repack
{
	my ($self) = @_;
	my $node = $self->{node};
	my $table = $self->{tables}[ int rand @{ $self->{tables} } ];
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'pg_repack', '--no-order', '--no-kill-backend', '-T', 5, '-h', $node->host,
			'-p', $node->port, '-d', 'postgres', '-t', $table ], \undef, \$out, \$err);
	return ($table, $err);
}

# Starts a process that does one thing after the other for some seconds.
sub start
{
	my ($self, $seconds, $seed) = @_;
	my $pid = fork // die "cannot fork: $!";

	if ($pid)
	{
		push @{ $self->{pids} }, $pid;
		return;
	}
	srand $seed;
	my $end = time + $seconds;
	for (my $n = 1; time < $end; $n++)
	{
		my ($what, $template) = @{ $actions[ int rand @actions ] };
		if (ref $template)
		{
			my ($done, $err) = $template->($self);
			append_to_file("$self->{log}.$seed", "$what: $done\n" . $err =~ s/^/    /gmr);
			next;
		}
		my $sql = eval { $self->_statement($template, "dba_${seed}_$n") } or next;
		my ($out, $err) = ('', '');

		# A subscriber needs a new column before its publisher.
		$self->{node}->psql($self->{follower}, $sql) if $self->{follower} && $what =~ /^add column/;
		# Statement by statement: some cannot run in a transaction.
		IPC::Run::run([ 'psql', '-XqAt', '-d',
				$self->{node}->connstr('postgres') . ' application_name=dba' ],
			\"SET statement_timeout = '20 s'; SET lock_timeout = '3 s';\n$sql;\n", \$out, \$err);
		append_to_file("$self->{log}.$seed", "$what: $sql\n"
			  . join('', map { "    $_\n" } grep { /ERROR|HINT|FATAL|PANIC/ } split /\n/, $err));
	}
	POSIX::_exit(0);
}

# Waits for those processes, and removes what they have left.
sub finish
{
	my ($self) = @_;
	my $node = $self->{node};

	waitpid $_, 0 for @{ $self->{pids} };
	$node->safe_psql('postgres', $_)
	  for 'ALTER DATABASE postgres RESET ALL', 'DROP PUBLICATION IF EXISTS dba',
	  'DROP EXTENSION pg_repack CASCADE';
	for my $cleaner (sort keys %cleaners)
	{
		for my $sql (split /\n/, $node->safe_psql('postgres', $cleaners{$cleaner}))
		{
			$node->safe_psql('postgres', $sql);
		}
	}
	return;
}

# What was done, and what was said to it.
sub log
{
	my ($self) = @_;

	return join '', map { slurp_file($_) } glob "$self->{log}.*";
}

# Every B-tree of ours against its table, and every table by itself.
sub damage
{
	my ($self) = @_;

	return $self->{node}->safe_psql('postgres', <<'EOT');
CREATE OR REPLACE FUNCTION dba.damage() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	i record;
BEGIN
	FOR i IN SELECT x.indexrelid::regclass AS name FROM pg_index x
		JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_am a ON a.oid = c.relam
		WHERE a.amname = 'btree' AND c.relnamespace IN ('event_store'::regnamespace,
			'message_bus'::regnamespace, 'saga'::regnamespace) LOOP
		BEGIN
			PERFORM bt_index_parent_check(i.name, true, false);
		EXCEPTION WHEN OTHERS THEN
			RETURN NEXT i.name || ': ' || SQLERRM;
		END;
	END LOOP;
	FOR i IN SELECT c.oid::regclass AS name FROM pg_class c
		WHERE c.relkind = 'r' AND c.relnamespace IN ('event_store'::regnamespace,
			'message_bus'::regnamespace, 'saga'::regnamespace) LOOP
		RETURN QUERY SELECT i.name || ': ' || v.msg FROM verify_heapam(i.name) v;
	END LOOP;
END
$$;
SELECT * FROM dba.damage();
EOT
}

1;
