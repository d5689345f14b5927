# Two databases with a link from the first to the second, programs that carry it, and
# the question whether anything was lost, doubled, invented or reordered.
#
# What is sent is noted where it is sent, in the same transaction; what is handled where
# it is handled. Keys belong to one client each, whose messages are numbered.
package LinkBed;

use strict;
use warnings;

use IO::Socket::UNIX;
use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Relay ();
use Test::More ();
use Time::HiRes qw(usleep);

our $conf = <<'EOT';
shared_preload_libraries = 'ecommerce'
log_statement = none
fsync = on
EOT

# name; a => node that is there already; conf_a, conf_b => lines of postgresql.conf.
sub new
{
	my ($class, $name, %options) = @_;
	my $self = bless { name => $name, pids => [], first => 0,
		directory => PostgreSQL::Test::Utils::tempdir_short() }, $class;

	for my $side (qw(a b))
	{
		my $node = $options{$side};
		if (!$node)
		{
			$node = PostgreSQL::Test::Cluster->new("${name}_$side");
			$node->init(allows_streaming => 1);
			$node->append_conf('postgresql.conf', $conf . ($options{"conf_$side"} // ''));
			$node->start;
		}
		$self->{$side} = $node;
	}
	$self->create($options{database} // 'shop');
	return $self;
}

# The databases, and how they are linked.
sub create
{
	my ($self, $database) = @_;

	$self->{database} = $database;
	for my $side (qw(a b))
	{
		$self->{$side}->safe_psql('postgres', "CREATE DATABASE $database");
		$self->sql($side, 'CREATE EXTENSION ecommerce; CREATE SCHEMA stress');
	}
	$self->sql('a', <<'EOT');
SELECT message_bus.create_endpoint('out', 4, forward_to => 'b');
CREATE TABLE stress.sent (key text, n bigint);
CREATE FUNCTION stress.send(client int, first bigint, count int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO stress.sent SELECT first / 10000000 || '-' || client || '-' || i % 3, i
		FROM generate_series(first, first + count - 1) i;
	SELECT message_bus.send('out', 'Counted', jsonb_build_object('key',
		first / 10000000 || '-' || client || '-' || i % 3, 'n', i),
		partition_key => first / 10000000 || '-' || client || '-' || i % 3)
		FROM generate_series(first, first + count - 1) i;
$$;
EOT
	$self->sql('b', <<'EOT');
SELECT message_bus.create_endpoint('in', 3);
SELECT message_bus.create_link('a_to_b', 'a', 'out', 'in');
CREATE TABLE stress.handled (ord bigserial, key text, n bigint);
CREATE FUNCTION stress.consume(count int) RETURNS bigint LANGUAGE sql AS $$
	WITH r AS MATERIALIZED (SELECT * FROM message_bus.receive('in', count)),
		h AS (INSERT INTO stress.handled (key, n)
			SELECT r.body->>'key', (r.body->>'n')::bigint FROM r ORDER BY r.delivery_id)
	SELECT CASE WHEN count(*) > 0 THEN message_bus.ack(VARIADIC array_agg(r.delivery_id))
		ELSE 0 END FROM r
$$;
EOT
	$self->write_services;
	return;
}

# {source} is the name of a's database, where it is another than b's.
sub sql
{
	my ($self, $side, $sql) = @_;
	return $self->{$side}->safe_psql(
		$side eq 'a' && $self->{source} || $self->{database}, $sql);
}

# Where the programs find the databases; more nodes for a are tried in their order.
# socket => a directory and port instead of a's own.
sub write_services
{
	my ($self, %options) = @_;
	my @a = @{ $options{a} // [ $self->{a} ] };

	open my $file, '>', "$self->{directory}/services" or die "cannot write: $!";
	print $file "[a]\nhost=", $options{host} // join(',', map { $_->host } @a), "\nport=",
	  $options{port} // join(',', map { $_->port } @a), "\ndbname=",
	  $self->{source} // $self->{database}, "\nconnect_timeout=5\n";
	print $file "[b]\nhost=", $self->{b}->host, "\nport=", $self->{b}->port,
	  "\ndbname=$self->{database}\n";
	close $file;
	return;
}

# Starts a program that carries; returns its process id. {before} may be a command to run it.
sub start_linkd
{
	my ($self, @options) = @_;
	my $log = "$self->{directory}/linkd.log";
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $pid = fork // die "cannot fork: $!";

	if ($pid == 0)
	{
		$ENV{PGSERVICEFILE} = "$self->{directory}/services";
		delete @ENV{qw(PGUSER PGSERVICE PGHOST PGPORT PGDATABASE PGAPPNAME)};
		exec(@{ $self->{before} // [] }, 'linkd', '--database=service=b', "--port=$port",
			'--pool-size=1', "--log-file=$log", @options) or POSIX::_exit(127);
	}
	$self->{log} = $log;
	$self->{port}{$pid} = $port;
	push @{ $self->{pids} }, $pid;
	return $pid;
}

sub stop_linkd
{
	my ($self, $pid, $signal) = @_;

	kill 'CONT', $pid;
	kill $signal // 'TERM', $pid;
	waitpid $pid, 0;
	my $status = $?;
	$self->{pids} = [ grep { $_ != $pid } @{ $self->{pids} } ];
	return $status;
}

sub stop_all
{
	my ($self) = @_;

	$self->stop_linkd($_, 'KILL') for @{ $self->{pids} };
	return;
}

# Load for so many seconds, in a process of its own.
sub start_senders
{
	my ($self, $seconds, $synchronous_commit) = @_;

	$self->{first} += 10_000_000;
	$self->_pgbench('a', "\\set n :n + 10\nSELECT stress.send(:client_id, :n, 10);\n",
		'-c', 4, '-T', $seconds, '-D', "n=$self->{first}", $synchronous_commit // 'on');
	return;
}

sub start_consumers
{
	my ($self) = @_;

	$self->_pgbench('b', "SELECT stress.consume(50) AS got \\gset\n\\if :got = 0\n"
		. "\\sleep 5 ms\n\\endif\n", '-c', 2, '-T', 86400, 'on');
	return;
}

sub _pgbench
{
	my ($self, $side, $script, @options) = @_;
	my $file = "$self->{directory}/load_$side.sql";
	my $synchronous_commit = pop @options;

	open my $handle, '>', $file or die "cannot write: $!";
	print $handle $script;
	close $handle;
	my $pid = fork // die "cannot fork: $!";
	if ($pid == 0)
	{
		$ENV{PGOPTIONS} = "-c synchronous_commit=$synchronous_commit";
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{directory}/pgbench.out";
		open STDERR, '>&', \*STDOUT;
		exec 'pgbench', '-n', '-M', 'prepared', @options, '-f', $file,
		  $self->{$side}->connstr($self->{database}) or POSIX::_exit(127);
	}
	$self->{load}{$side} = $pid;
	return;
}

sub finish_senders { waitpid delete $_[0]{load}{a}, 0; return; }

sub stop_consumers
{
	my ($self) = @_;
	my $pid = delete $self->{load}{b};

	kill 'TERM', $pid;
	waitpid $pid, 0;
	return;
}

# Sends so many messages and notes them.
sub send_some
{
	my ($self, $count, $key) = @_;

	$self->{first} += 10_000_000;
	$self->sql('a', "SELECT stress.send(0, $self->{first}, $count)");
	return;
}

sub handle_all
{
	my ($self) = @_;
	1 while $self->sql('b', 'SELECT stress.consume(500)') > 0;
	return;
}

# Lets the lanes go on from where the source says that it has everything still.
sub reset_to_confirmed
{
	my ($self) = @_;

	for (split /\n/,
		$self->sql('a', q{SELECT lane, confirmed FROM message_bus.forward_lanes('out')}))
	{
		my ($lane, $position) = split /\|/;
		$self->sql('b', "SELECT message_bus.reset_link('a_to_b', $lane, $position)");
	}
	return;
}

# Waits until all that was sent has been told to have arrived, and is handled.
sub drained
{
	my ($self) = @_;

	return 0
	  unless $self->{a}->poll_query_until($self->{source} // $self->{database},
		q{SELECT unconfirmed = 0 FROM message_bus.forwards WHERE endpoint = 'out'});
	return $self->{b}->poll_query_until($self->{database},
		q{SELECT depth = 0 FROM message_bus.endpoints WHERE name = 'in'})
	  if $self->{load}{b};
	$self->handle_all;
	return 1;
}

# Waits until all that was sent has arrived, or nothing more has for a while: what a broken
# server has lost never comes.
sub stalled_or_drained
{
	my ($self) = @_;
	my ($before, $same) = ('', 0);

	while ($same < 5)
	{
		my $left = $self->sql('a', 'SELECT sum(unconfirmed) FROM message_bus.forwards');
		my $now = $left . ' ' . $self->sql('b', 'SELECT sum(accepted) FROM message_bus.links');

		return if $left == 0;
		$same = $now eq $before ? $same + 1 : 0;
		$before = $now;
		$self->sql('b', 'SELECT pg_sleep(1)');
	}
	return;
}

# What is wrong, one line each.
sub complaints
{
	my ($self) = @_;

	$self->sql('b', 'DROP TABLE IF EXISTS stress.sent;
		CREATE TABLE stress.sent (key text, n bigint)');
	IPC::Run::run([ $self->_psql('a', 'COPY stress.sent TO STDOUT') ],
		'|', [ $self->_psql('b', 'COPY stress.sent FROM STDIN') ])
	  or die 'what was sent cannot be compared';
	return join '', map { "$_\n" } split /\n/, $self->sql('b', <<'EOT');
WITH s AS (SELECT DISTINCT key, n FROM stress.sent),
h AS (SELECT key, n, count(*) AS times FROM stress.handled GROUP BY key, n),
wrong AS (
	SELECT 'doubled' AS what, sum(times - 1) AS many FROM h
	UNION ALL SELECT 'invented', sum(times) FROM h LEFT JOIN s USING (key, n) WHERE s IS NULL
	UNION ALL SELECT 'lost', count(*) FROM s LEFT JOIN h USING (key, n) WHERE h IS NULL
	UNION ALL SELECT 'reordered', count(*) FROM (SELECT n < lag(n) OVER
		(PARTITION BY key ORDER BY ord) AS wrong FROM stress.handled) o WHERE o.wrong)
SELECT what || ': ' || many FROM wrong WHERE many > 0 ORDER BY what
EOT
}

sub _psql
{
	my ($self, $side, $sql) = @_;
	return ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-c', $sql, '-d',
		$self->{$side}->connstr($side eq 'a' && $self->{source} || $self->{database}));
}

sub sent { return $_[0]->sql('a', 'SELECT count(*) FROM stress.sent'); }

# Lets the load go on for so many microseconds: when something happens is chance.
sub meanwhile { usleep($_[0]); return; }

# Kills a server as a power failure would, and starts it again.
sub crash
{
	my ($self, $side) = @_;
	my $node = $self->{$side};

	$node->kill9;
	start_after_crash($node);
	return;
}

# Processes of the dead one may still be there for a moment.
sub start_after_crash
{
	my ($node) = @_;

	for (1 .. 300)
	{
		return if $node->start(fail_ok => 1);
		usleep(100_000);
		$node->stop('fast', fail_ok => 1);
	}
	die 'the server does not start again';
}

# A relay before a's socket, to be stopped and killed: a network that can be cut.
sub start_relay
{
	my ($self) = @_;
	my $server = $self->{a};
	my $directory = PostgreSQL::Test::Utils::tempdir_short();
	my $path = "$directory/.s.PGSQL.5432";
	my $listen = IO::Socket::UNIX->new(Local => $path, Listen => 10) or die "no socket: $!";
	my $target = $server->host . '/.s.PGSQL.' . $server->port;

	return (Relay::start($listen, sub { return IO::Socket::UNIX->new(Peer => $target) }),
		$directory);
}

sub DESTROY
{
	my ($self) = @_;
	local $? = $?;
	kill 'KILL', @{ $self->{pids} }, values %{ $self->{load} // {} };
	return;
}

1;
