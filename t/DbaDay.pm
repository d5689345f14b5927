# What a DBA and his tools do to a database in a day, as one list of statements, and
# a process that does them one after the other at random.
#
# Each entry: what it is called, and a function of a random table of ours that returns
# SQL. {index}, {column} and {key} stand for one of the table's.
package DbaDay;

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

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
	[ 'role' => 'CREATE ROLE {dba} IN ROLE ecommerce_writer; REASSIGN OWNED BY {dba} TO postgres; '
		  . 'DROP OWNED BY {dba}; DROP ROLE {dba}' ],
	[ 'update extension' => 'ALTER EXTENSION ecommerce UPDATE' ],
	[ 'settings' => q{ALTER DATABASE postgres SET timezone = 'Asia/Kathmandu'} ],
	[ 'more settings' => q{ALTER DATABASE postgres SET search_path = dba, public} ],
	[ 'settings of old' => 'ALTER DATABASE postgres RESET ALL' ],
	[ 'timeout' => q{ALTER DATABASE postgres SET statement_timeout = '300 ms'} ],
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
		FROM pg_trigger WHERE tgname ~ '^dba_'},
);

sub new
{
	my ($class, $node) = @_;
	my $self = bless { node => $node, log => PostgreSQL::Test::Utils::tempdir() . '/dba',
		pids => [] }, $class;

	$node->safe_psql('postgres', <<'EOT');
CREATE EXTENSION amcheck;
CREATE SCHEMA dba;
CREATE TABLE dba.noted (what text, at timestamptz DEFAULT now());
CREATE FUNCTION dba.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO dba.noted (what) VALUES (TG_OP);
	RETURN NULL;
END
$$;
GRANT USAGE ON SCHEMA dba TO PUBLIC;
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
		my $sql = eval { $self->_statement($template, "dba_${seed}_$n") } or next;
		my ($out, $err) = ('', '');

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
	$node->safe_psql('postgres',
		'ALTER DATABASE postgres RESET ALL; DROP PUBLICATION IF EXISTS dba');
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
