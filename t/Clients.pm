# What the tests of the clients share: a server, a pooler, workers that are killed, and the
# question whether anything was lost or doubled.
#
# A worker is a program of the client under test. It consumes the endpoint "work" and follows the
# subscription "follow", notes in the table effect what it handles, in the transaction that does
# so, ends itself with SIGKILL on a message Deadly, prints "ready PID" when it listens to SIGTERM,
# and ends well on it.
package Clients;

use strict;
use warnings FATAL => 'all';

use IPC::Run qw(start);
use POSIX qw(:sys_wait_h);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

use constant { WORKERS => 3, MESSAGES => 600, PATIENCE => $ENV{PG_TEST_TIMEOUT_DEFAULT} // 600 };

sub new
{
	my ($class, $name) = @_;
	my $self = bless { node => PostgreSQL::Test::Cluster->new($name), pid => {} }, $class;

	$self->{node}->init;
	$self->{node}->append_conf('postgresql.conf',
		"shared_preload_libraries = 'ecommerce'\nmax_connections = 60\n");
	$self->{node}->start;
	$self->create('test');
	return $self;
}

sub create
{
	my ($self, $database) = @_;
	$self->{node}->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING 'UTF8' TEMPLATE template0");
	$self->{node}->safe_psql($database, 'CREATE EXTENSION ecommerce');
	return;
}

# The variables that lead a program to a database, through the pooler if there is one.
sub environment
{
	my ($self, $database) = @_;
	my ($host, $port) = $self->{pooler} ? @$self{qw(pooler_directory pooler_port)}
	  : ($self->{node}->host, $self->{node}->port);
	return (PGHOST => $host, PGPORT => $port, PGDATABASE => $database, PGUSER => user());
}

sub user { return scalar getpwuid $> }

# A pgbouncer in transaction mode, for what is started from now on.
sub pool
{
	my ($self, $size) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir_short;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $node = $self->{node};

	append_to_file("$directory/users", '"' . user() . qq("  ""\n));
	append_to_file("$directory/pgbouncer.ini", <<"END");
[databases]
* = host=@{[ $node->host ]} port=@{[ $node->port ]}
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $directory
auth_type = trust
auth_file = $directory/users
pool_mode = transaction
default_pool_size = $size
max_client_conn = 200
logfile = $directory/log
END
	# Quiet: what it says lies in its log, and nobody empties a pipe.
	my $said = '';
	@$self{qw(pooler_directory pooler_port)} = ($directory, $port);
	$self->{pooler} = start([ qw(pgbouncer -q), "$directory/pgbouncer.ini" ],
		'>', \$said, '2>', \$said);
	$self->until('the pooler answers', sub { -S "$directory/.s.PGSQL.$port" });
	return;
}

sub unpool
{
	my ($self) = @_;
	(delete $self->{pooler})->kill_kill;
	return;
}

sub until
{
	my ($self, $what, $condition) = @_;
	my $end = Time::HiRes::time() + PATIENCE;
	until ($condition->())
	{
		die "it never came to pass: $what\n" if Time::HiRes::time() > $end;
		$self->supervise;
		Time::HiRes::usleep 20_000;
	}
	return;
}

# Starts the workers that are missing: those that were killed, or have ended themselves.
sub supervise
{
	my ($self) = @_;
	for my $number (keys %{ $self->{pid} })
	{
		my $pid = $self->{pid}{$number};
		next if waitpid($pid, WNOHANG) == 0;
		$self->{deaths}++ if ($? & 127) == 9;
		fail("a worker ended by itself: $?") if ($? & 127) != 9;
		$self->launch($number);
	}
	return;
}

sub worker_log { return "$PostgreSQL::Test::Utils::log_path/worker" }

sub launch
{
	my ($self, $number) = @_;
	my $pid = fork // die "cannot fork: $!";
	if ($pid == 0)
	{
		%ENV = (%ENV, $self->environment('test'));
		open STDOUT, '>>', $self->worker_log or die "cannot write: $!";
		open STDERR, '>&', \*STDOUT or die "cannot write: $!";
		exec(@{ $self->{worker} }) or die "cannot run @{ $self->{worker} }: $!";
	}
	$self->{pid}{$number} = $pid;
	return;
}

sub handled
{
	my ($self, $kind) = @_;
	return $self->{node}->safe_psql('test',
		"SELECT count(*) || ' ' || count(DISTINCT n) FROM effect WHERE kind = '$kind'");
}

# The Python that has psycopg: Debian's, whatever else is in PATH.
sub python
{
	for my $python (qw(/usr/bin/python3 python3))
	{
		return $python if system("$python -c 'import psycopg_pool' 2>/dev/null") == 0;
	}
	die "no python3 with psycopg and psycopg_pool: make deps\n";
}

# The server is killed and started again.
sub crash
{
	my ($self) = @_;
	my $node = $self->{node};
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	$node->kill9;
	$self->until('the server is gone', sub { !kill 0, $pid });
	$self->until('it starts again', sub { $node->start(fail_ok => 1) });
	return;
}

# Workers consume and follow while they, and the server, are killed.
sub survives
{
	my ($self, @worker) = @_;
	my $node = $self->{node};
	my $all = join ' ', (MESSAGES) x 2;

	@$self{qw(worker deaths)} = (\@worker, 0);
	$node->safe_psql('test', q{DROP TABLE IF EXISTS effect; CREATE TABLE effect (kind text, n int);
		SELECT message_bus.drop_endpoint(name, true) FROM message_bus.endpoint WHERE name = 'work';
		SELECT message_bus.create_endpoint('work', 8, '{"kind": "none"}');
		SELECT event_store.create_subscription('follow', 'thing', partitions => 4);});
	$node->safe_psql('test', sprintf q{
		SELECT message_bus.send('work', 'Work', jsonb_build_object('n', n),
				partition_key => n::text)
			FROM generate_series(1, %d) n;
		SELECT message_bus.send('work', 'Deadly', '{}', partition_key => 'deadly');
		SELECT event_store.append('thing-' || n %% 20, -1, 'Happened', jsonb_build_object('n', n))
			FROM generate_series(1, %1$d) n;}, MESSAGES);
	$self->launch($_) for 1 .. WORKERS;
	for my $round (1 .. 4)
	{
		my $goal = $round * 2 * MESSAGES / 8;
		$self->until("$goal are handled", sub {
			$node->safe_psql('test', 'SELECT count(*) FROM effect') >= $goal;
		});
		if ($round == 2) { $self->crash }
		else { kill 'KILL', (values %{ $self->{pid} })[ $round % WORKERS ] }
	}
	$self->until("every $_ is handled", sub { $self->handled($_) =~ /^\d+ @{[MESSAGES]}$/ })
	  for qw(message event);
	$self->until('the deadly message is dead',
		sub { $node->safe_psql('test', 'SELECT count(*) FROM message_bus.dead_letters') });
	is($self->handled($_), $all, "no $_ is lost or doubled") for qw(message event);
	is($node->safe_psql('test', 'SELECT error_code, message_type FROM message_bus.dead_letters'),
		'crash|Deadly', 'one message is dead: the one that kills its consumers');
	cmp_ok($self->{deaths}, '>=', 6, 'workers were killed, and have killed themselves');
	$self->end;
	return;
}

# Every worker ends well when it is asked to; one that has just been started first has to listen.
sub end
{
	my ($self) = @_;
	$self->until('all workers listen', sub {
		# The deadly message may have taken one with it just now.
		$self->supervise;
		my %ready = map { $_ => 1 } slurp_file($self->worker_log) =~ /^ready (\d+)$/mg;
		!grep { !$ready{$_} } values %{ $self->{pid} };
	});
	my @pids = values %{ $self->{pid} };
	$self->{pid} = {};
	kill 'TERM', @pids;
	for my $pid (@pids)
	{
		waitpid $pid, 0;
		is($?, 0, 'a worker ends well when it is asked to');
	}
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;
	kill 'KILL', values %{ $self->{pid} };
	$self->{pooler}->kill_kill if $self->{pooler};
	return;
}

1;
