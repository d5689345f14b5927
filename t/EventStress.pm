# Load on an event store, and readers whose every answer is compared with what was
# committed: 0 missed, doubled, reordered, or seen although it never committed.
#
#	my $stress = EventStress->new($node);
#	$stress->start_reader('all');
#	$stress->start_writers(clients => 16, transactions => 1000);
#	my $commits = $stress->finish_writers;
#	is($stress->finish_readers, '', 'the readers saw exactly what was committed');
#
# A reader is a psql of its own that resumes from the last position it got, on any
# server; what it printed is what it saw. A consumer is a pgbench that fetches from
# a subscription and writes into a table in the same transaction.
package EventStress;

use strict;
use warnings;

use Exporter qw(import);
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT_OK = qw(poll);

use constant CATEGORIES => 4;

# Prologue of each writer's script: a category and a stream in it. Where a script
# appends to several streams it does so in the order of their names.
my $pick = "\\set c random(0, 1)\n\\set s random(1, 40)\n";
my $append = q{SELECT event_store.append('c' || :c || '-' || :s, -1, 'Counted', '{"n": 1}');} .
	"\n";
my $append_later = $append =~ s/:c/(:c + 2)/r;

# name => [weight, does it commit?, script]
my %writers = (
	single => [ 30, 1, $pick . $append ],
	pause => [ 16, 1, "$pick\\set u random(100, 3000)\nBEGIN;\n$append\\sleep :u us\nCOMMIT;\n" ],
	long => [ 1, 1, "${pick}BEGIN;\n$append\\sleep 40 ms\nCOMMIT;\n" ],
	rollback => [ 6, 0, "${pick}BEGIN;\n$append$append_later\\sleep 500 us\nROLLBACK;\n" ],
	savepoint => [
		6, 1, "${pick}BEGIN;\nSAVEPOINT one;\n${append}ROLLBACK TO one;\n"
		  . "SAVEPOINT two;\n${append_later}RELEASE two;\n\\sleep 300 us\nCOMMIT;\n" ],
	undone => [
		4, 1, "${pick}BEGIN;\n${append}SAVEPOINT one;\n$append_later\\sleep 300 us\n"
		  . "ROLLBACK TO one;\n${append_later}COMMIT;\n" ],
	several => [
		6, 1, "${pick}BEGIN;\n"
		  . join("\\sleep 200 us\n", map { $append =~ s/:c/'$_'/r } 0 .. CATEGORIES - 1)
		  . "COMMIT;\n" ],
	batch => [
		4, 1, $pick . q{SELECT event_store.append_batch('c' || :c || '-' || :s, -1, array_agg(
			ROW('Counted', '{"n": 1}', NULL, NULL, NULL, NULL)::event_store.new_event))
			FROM generate_series(1, 5);} . "\n" ],
	caught => [ 4, 1, $pick . "SELECT stress.append_and_fail('c' || :c || '-' || :s);\n" ],
	serializable => [
		3, 1, "${pick}BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT count(*) FROM stress.final;\n"
		  . "${append}COMMIT;\n" ],
);

# A consumer takes a batch, writes it down and advances; one time in ten it changes
# its mind.
my $consume = <<'EOT';
\set keep random(1, 10)
BEGIN;
WITH e AS MATERIALIZED (SELECT * FROM event_store.fetch(':subscription', 60)),
	noted AS (INSERT INTO stress.delivered (subscription, position, stream, version)
		SELECT ':subscription', e.position, e.stream, e.version FROM e)
SELECT coalesce(max(e.position), 0) AS upto FROM e \gset
\if :upto > 0
SELECT event_store.advance(':subscription', :upto);
\endif
\if :keep = 1
ROLLBACK;
\else
COMMIT;
\endif
\if :upto = 0
\sleep 10 ms
\endif
EOT

# poll { condition }: waits until it holds, as poll_query_until does for a query.
sub poll (&)
{
	my ($condition) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $condition->();
		select undef, undef, undef, 0.1;
	}
	die 'timed out waiting for a condition';
}

sub new
{
	my ($class, $node, %options) = @_;
	my $self = bless {
		node => $node,
		database => 'postgres',
		readers => {},
		consumers => [],
		commits => 0,
		%options
	}, $class;
	$self->{files} = PostgreSQL::Test::Utils::tempdir();
	$self->_sql(<<'EOT');
CREATE SCHEMA stress;
CREATE TABLE stress.final (reader text PRIMARY KEY, position bigint NOT NULL);
CREATE TABLE stress.running (n int);
CREATE TABLE stress.delivered (ord bigserial, subscription text, position bigint, stream text,
	version bigint);
CREATE FUNCTION stress.append_and_fail(stream text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM event_store.append(stream, -1, 'Lost', '{}');
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		PERFORM event_store.append(stream, -1, 'Caught', '{}');
	END;
END
$$;
-- Ends backends that have a transaction open, one by one.
CREATE PROCEDURE stress.terminate() LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM stress.running) LOOP
		PERFORM pg_terminate_backend(v.pid) FROM (
			SELECT a.pid FROM pg_stat_activity a
			WHERE a.application_name = 'victims' AND a.xact_start IS NOT NULL
			ORDER BY random() LIMIT 1) v;
		PERFORM pg_sleep(0.02);
		PERFORM pg_stat_clear_snapshot();
	END LOOP;
END
$$;
EOT
	return $self;
}

sub _sql
{
	my ($self, $sql) = @_;
	return $self->{node}->safe_psql($self->{database}, $sql);
}

sub write_file
{
	my ($file, $text) = @_;

	open my $handle, '>', $file or die "cannot write $file: $!";
	print $handle $text;
	close $handle;
	return $file;
}

sub _file
{
	my ($self, $name, $text) = @_;
	return write_file("$self->{files}/$name", $text);
}

# Starts a program with its output in a file, and its errors in another one beside
# it. Returns its process id.
sub _spawn
{
	my ($file, @command) = @_;
	my $pid = fork // die "cannot fork: $!";

	return $pid if $pid;
	open STDIN, '<', '/dev/null';
	open STDOUT, '>>', $file;
	open STDERR, '>>', "$file.err";
	exec @command or POSIX::_exit(127);
}

sub _pgbench
{
	my ($self, $name, @options) = @_;
	my $file = "$self->{files}/$name.out";

	unlink $file, "$file.err";
	local $ENV{PGAPPNAME} = $name;
	return _spawn($file, 'pgbench', '-n', '-M', 'prepared', @options,
		$self->{node}->connstr($self->{database}));
}

# Starts a reader. kind: 'wait' (CALL wait, then read_all), 'poll' (read_all again and
# again) or 'mark' (the table itself, up to a mark asked for before). category: of one
# only. after: the position it begins after. node: where it reads, if not where the
# events are written. Started again after it died it resumes where it was.
sub start_reader
{
	my ($self, $name, %options) = @_;
	my $reader = $self->{readers}{$name} //= {
		kind => 'wait', after => 0, node => $self->{node},
		file => "$self->{files}/$name.out", %options
	};
	my $category = $reader->{category} ? "'$reader->{category}'" : 'NULL';
	my $source =
	  $reader->{kind} eq 'mark'
	  ? "event_store.stored_event e WHERE e.position > :last AND e.position <= :high_water_mark"
	  . ($reader->{category} ? " AND e.stream LIKE '$reader->{category}-%'" : '')
	  : "event_store.read_all(:last, 500, $category) e";
	my $last = $reader->{kind} eq 'mark' ? ':high_water_mark' : 'max(e.position)';
	my $before =
	  $reader->{kind} eq 'poll'
	  ? "SELECT event_store.high_water_mark($category) FROM pg_sleep(0.002) \\gset\n"
	  : "CALL event_store.wait(:last, '100 ms', $category) \\gset\n";
	# \q leaves one file: the loop goes through the rest of its lines, at no cost.
	my $step = "\\if :done\n\\q\n\\endif\n" . $before . <<"EOT";
SELECT coalesce(string_agg(e.position::text, ' ' ORDER BY e.position), '') AS seen,
	greatest($last, :last) AS last, greatest($last, :last) >= coalesce(
		(SELECT f.position FROM stress.final f WHERE f.reader = '$name'), 9223372036854775807)
			AS done
FROM $source \\gset
\\echo :high_water_mark :seen
EOT
	# read_all answers in order, and that is to be seen.
	$step =~ s/ ORDER BY e.position// unless $reader->{kind} eq 'mark';

	my $steps = $self->_file("$name.step", $step x 100);
	my $loop = $self->_file("$name.loop", "\\i $steps\n" x 5000);
	$self->_seen($name);
	unlink "$reader->{file}.err";
	$reader->{process} = _spawn(
		$reader->{file}, 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', 'done=f',
		'-v', 'last=' . ($reader->{resume_at} // $reader->{after}),
		'-d', $reader->{node}->connstr($self->{database}), '-f', $loop);
	return;
}

# What a reader has printed so far: all positions, and all marks, in order.
sub _seen
{
	my ($self, $name) = @_;
	my $reader = $self->{readers}{$name};
	my (@positions, @marks);

	if (-e $reader->{file})
	{
		for my $line (split /^/, slurp_file($reader->{file}))
		{
			# The last line of a reader that was killed may be cut.
			next unless $line =~ /\n\z/;
			my ($mark, @seen) = split ' ', $line;
			push @marks, $mark;
			push @positions, @seen;
			$reader->{resume_at} = $reader->{kind} eq 'mark' ? $mark :
				$seen[-1] // $reader->{resume_at};
		}
	}
	return (\@positions, \@marks);
}

# Starts consumers of a subscription that exists.
sub start_consumers
{
	my ($self, $subscription, $clients) = @_;
	my $script = $self->_file("$subscription.sql", $consume =~ s/:subscription/$subscription/gr);

	push @{ $self->{consumers} },
	  $self->_pgbench($subscription, '-c', $clients, '-T', 3600, '--max-tries', 1000, '-f',
	  	$script);
	return;
}

# Starts clients that append to a stream of their own and print each position that
# was acknowledged. options: a hash of settings.
sub start_acknowledged
{
	my ($self, $clients, %options) = @_;

	local $ENV{PGOPTIONS} = _settings($options{options});
	# What an earlier crash was allowed to lose must not be asked for again.
	unlink glob "$self->{files}/ack*.out";
	for my $number (1 .. $clients)
	{
		my $step = "SELECT \"position\" FROM event_store.append('ack-$number', -1, 'Counted',
			'{}') \\gset\n"
		  . "\\echo :position\n";
		my $steps = $self->_file("ack$number.step", $step x 100);

		push @{ $self->{acknowledging} },
		  _spawn("$self->{files}/ack$number.out", 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1',
			'-d', $self->{node}->connstr($self->{database}),
			'-f', $self->_file("ack$number.loop", "\\i $steps\n" x 5000));
	}
	return;
}

# Waits until those clients and the writers have lost their server. Returns all the
# positions that were acknowledged since they were started.
sub acknowledged
{
	my ($self) = @_;

	waitpid($_, 0) for @{ $self->{acknowledging} };
	$self->{acknowledging} = [];
	return map { grep { /^\d+\n/ } split /^/, slurp_file($_) } glob "$self->{files}/ack*.out";
}

# The greatest mark that any reader was ever told.
sub greatest_mark
{
	my ($self) = @_;
	my $greatest = 0;

	for my $name (keys %{ $self->{readers} })
	{
		my (undef, $marks) = $self->_seen($name);
		for my $mark (@$marks)
		{
			$greatest = $mark if $mark > $greatest;
		}
	}
	return $greatest;
}

# Waits until the readers have lost their server, then starts them again.
sub restart_readers
{
	my ($self) = @_;

	for my $name (sort keys %{ $self->{readers} })
	{
		waitpid($self->{readers}{$name}{process}, 0);
		$self->start_reader($name);
	}
	return;
}

sub _settings
{
	my ($settings) = @_;
	return join ' ', map { "-c $_=$settings->{$_}" } keys %{ $settings // {} };
}

# Starts the writers. clients, transactions (each), options (a hash of settings).
sub start_writers
{
	my ($self, %options) = @_;
	my @files;

	for my $name (sort keys %writers)
	{
		push @files, '-f', $self->_file("$name.sql", $writers{$name}[2]) . "\@$writers{$name}[0]";
	}
	local $ENV{PGOPTIONS} = _settings($options{options});
	$self->{writers} = $self->_pgbench(
		'writers', '-c', $options{clients}, '-t', $options{transactions}, '--max-tries', 100,
			@files);
	return;
}

# Waits for the writers; meanwhile starts transactions and terminates their backends
# if kill => 1. Returns how many transactions with events were committed. Where the
# server is made to crash meanwhile, crash => 1 forgives what pgbench says then.
sub finish_writers
{
	my ($self, %options) = @_;

	if ($options{kill})
	{
		$self->_sql('INSERT INTO stress.running VALUES (1)');
		my $terminator = $self->{node}->background_psql($self->{database});
		$terminator->{stdin} .= "CALL stress.terminate();\n";
		$terminator->{run}->pump_nb;
		my $victims = 0;
		$victims += $self->_run_victims while waitpid($self->{writers}, WNOHANG) == 0;
		$self->_sql('DELETE FROM stress.running');
		$terminator->quit;
		$self->{victims} += $victims;
	}
	waitpid($self->{writers}, 0);
	my $output = slurp_file("$self->{files}/writers.out");
	my $errors = slurp_file("$self->{files}/writers.out.err");
	die "the writers failed: $errors" if $errors =~ /\S/ && !$options{crash};
	my $commits = 0;
	while ($output =~ m{^SQL script \d+: \S+/(\w+)\.sql\n(?: - .*\n)*? - (\d+) transactions}mg)
	{
		$commits += $2 if $writers{$1}[1];
	}
	die "cannot read what pgbench says: $output" unless $commits || $options{crash};
	$self->{commits} += $commits;
	return $commits;
}

# A few clients until the terminator has ended each. Returns how many it ended.
sub _run_victims
{
	my ($self) = @_;
	my $script = $self->_file('victim.sql', $writers{pause}[2]);

	waitpid($self->_pgbench('victims', '-c', 3, '-T', 2, '-f', $script), 0);
	my ($done) = slurp_file("$self->{files}/victims.out") =~ /actually processed: (\d+)/;
	my $errors = slurp_file("$self->{files}/victims.out.err");
	$self->{commits} += $done // 0;
	return scalar(() = $errors =~ /client \d+ aborted/g);
}

# Lets the readers and consumers catch up, and says what is wrong with what they saw;
# '' if nothing.
sub finish_readers
{
	my ($self) = @_;
	my @problems;

	for my $name (sort keys %{ $self->{readers} })
	{
		my $filter = $self->_filter($name);
		$self->_sql("INSERT INTO stress.final SELECT '$name', coalesce(max(position), 0)
			FROM event_store.stored_event WHERE $filter");
	}
	for my $name (sort keys %{ $self->{readers} })
	{
		my $reader = $self->{readers}{$name};
		waitpid($reader->{process}, 0);
		my $status = $?;
		my $errors = slurp_file("$reader->{file}.err");
		push @problems, "reader $name failed: $errors" if $status != 0 || $errors =~ /\S/;
		push @problems, $self->_compare_reader($name);
	}
	if (@{ $self->{consumers} })
	{
		$self->{node}->poll_query_until($self->{database},
			'SELECT NOT EXISTS (SELECT FROM event_store.subscriptions WHERE lag_events > 0)')
		  or push @problems, 'the consumers do not reach the end';
		kill 'TERM', @{ $self->{consumers} };
		waitpid($_, 0) for @{ $self->{consumers} };
		push @problems, $self->_compare_consumers;
	}
	$self->{consumers} = [];
	$self->{readers} = {};
	return join "\n", @problems;
}

sub _filter
{
	my ($self, $name) = @_;
	my $reader = $self->{readers}{$name};
	my $filter = "position > $reader->{after}";

	$filter .= " AND stream LIKE '$reader->{category}-%'" if $reader->{category};
	return $filter;
}

# Compares what a reader saw with the table. Returns its problems.
sub _compare_reader
{
	my ($self, $name) = @_;
	my ($positions, $marks) = $self->_seen($name);
	my %seen;
	my ($doubled, $reordered, $back, $last) = (0, 0, 0, 0);

	for my $position (@$positions)
	{
		$doubled++ if $seen{$position}++;
		$reordered++ if $position < $last;
		$last = $position;
	}
	my @committed = split /\n/, $self->_sql('SELECT position FROM event_store.stored_event WHERE '
		  . $self->_filter($name));
	my $missed = grep { !delete $seen{$_} } @committed;
	my $phantom = keys %seen;
	my $before = 0;
	for my $mark (@$marks)
	{
		$back++ if $mark < $before;
		$before = $mark;
	}
	return () unless $missed || $doubled || $reordered || $phantom || $back;
	return "reader $name: of " . scalar(@committed) . " events $missed missed, $doubled doubled, "
	  . "$reordered reordered, $phantom never committed; the mark went back $back times";
}

# What the consumers wrote down must be the table, each event once, and each stream's
# events in order.
sub _compare_consumers
{
	my ($self) = @_;
	my $text = $self->_sql(<<'EOT');
SELECT format('subscription %s: %s missed, %s doubled, %s reordered, %s never committed', name,
	missed, doubled, reordered, phantom)
FROM event_store.subscription s,
	LATERAL (SELECT count(*) AS missed FROM event_store.stored_event e
		WHERE (s.category IS NULL OR e.stream LIKE s.category || '-%')
			AND NOT EXISTS (SELECT FROM stress.delivered d WHERE d.subscription = s.name
				AND d.position = e.position)) m,
	LATERAL (SELECT count(*) - count(DISTINCT position) AS doubled FROM stress.delivered d
		WHERE d.subscription = s.name) t,
	LATERAL (SELECT count(*) FILTER (WHERE version < before) AS reordered
		FROM (SELECT version, lag(version) OVER (PARTITION BY stream ORDER BY ord) AS before
			FROM stress.delivered d WHERE d.subscription = s.name) o) r,
	LATERAL (SELECT count(*) AS phantom FROM stress.delivered d WHERE d.subscription = s.name
		AND NOT EXISTS (SELECT FROM event_store.stored_event e WHERE e.position = d.position)) p
WHERE missed + doubled + reordered + phantom > 0
EOT
	return split /\n/, $text;
}

1;
