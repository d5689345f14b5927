# A database with bridges, a RabbitMQ of its own that touches no other, programs that carry,
# and foreign ones at the broker (bridge_peer.mjs).
package BridgeBed;

use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run qw(run start);
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Relay ();
use Test::More ();
use Time::HiRes qw(usleep);

my $json = JSON::PP->new->utf8->canonical;
my @beds;

sub new
{
	my ($class) = @_;
	my $self = bless { pids => [], peers => [],
		directory => PostgreSQL::Test::Utils::tempdir_short() }, $class;
	push @beds, $self;
	my $node = $self->{node} = PostgreSQL::Test::Cluster->new('shop');

	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$self->sql('CREATE EXTENSION ecommerce');
	$self->{port}{$_} = PostgreSQL::Test::Cluster::get_free_port() for qw(amqp dist epmd);
	$self->{url} = "amqp://guest:guest\@127.0.0.1:$self->{port}{amqp}";
	$self->write_brokers;
	mkdir "$self->{directory}/rabbit";
	$self->start_epmd;
	$self->start_broker;
	return $self;
}

sub sql { return $_[0]{node}->safe_psql('shop', $_[1]); }

sub until_sql { return $_[0]{node}->poll_query_until('shop', $_[1]); }

# Where programs find the broker; password, port, heartbeat => others.
sub write_brokers
{
	my ($self, %options) = @_;

	open my $file, '>', "$self->{directory}/brokers.conf" or die "cannot write: $!";
	print $file "# brokers\n[rabbit]\nhost=127.0.0.1\nport=", $options{port} // $self->{port}{amqp},
	  "\nheartbeat=", $options{heartbeat} // 4, "\npassword=", $options{password} // 'guest', "\n";
	close $file;
	chmod 0600, "$self->{directory}/brokers.conf" or die "cannot chmod: $!";
	return;
}

# Erlang's port mapper; Erlang would leave one behind.
sub start_epmd
{
	my ($self) = @_;
	my $pid = $self->{epmd} = fork // die "cannot fork: $!";

	if ($pid == 0)
	{
		POSIX::setsid();
		exec 'epmd', '-port', $self->{port}{epmd}, '-address', '127.0.0.1'
		  or POSIX::_exit(127);
	}
	return;
}

# The broker, with what it had; in a process group of its own.
sub start_broker
{
	my ($self) = @_;
	my $home = "$self->{directory}/rabbit";
	my %port = %{ $self->{port} };
	my $pid = $self->{broker} = fork // die "cannot fork: $!";

	if ($pid == 0)
	{
		POSIX::setsid();
		%ENV = (PATH => $ENV{PATH}, HOME => $home, LANG => 'C.UTF-8',
			RABBITMQ_NODENAME => "shop$port{amqp}\@localhost",
			RABBITMQ_NODE_IP_ADDRESS => '127.0.0.1', RABBITMQ_NODE_PORT => $port{amqp},
			RABBITMQ_DIST_PORT => $port{dist},
			ERL_EPMD_PORT => $port{epmd}, ERL_EPMD_ADDRESS => '127.0.0.1',
			RABBITMQ_MNESIA_BASE => "$home/mnesia", RABBITMQ_LOG_BASE => $home,
			RABBITMQ_CONFIG_FILE => "$home/rabbitmq", RABBITMQ_CONF_ENV_FILE => "$home/env",
			RABBITMQ_ENABLED_PLUGINS_FILE => "$home/plugins", RABBITMQ_PID_FILE => "$home/pid",
			RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS => '+sbwt none +sbwtdcpu none');
		chdir $home;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$home/out";
		open STDERR, '>&', \*STDOUT;
		exec '/usr/lib/rabbitmq/bin/rabbitmq-server' or POSIX::_exit(127);
	}
	my $why = $self->until_broker;
	die "the broker does not start, see $home/out: $why" if $why;
	return;
}

# Programs reach the broker over a relay from now on; most => each connection breaks after so many
# bytes at most. cut_relay() breaks those that there are.
sub start_relay
{
	my ($self, %options) = @_;
	my $port = $self->{port}{amqp};
	my $at = $self->{port}{relay} //= PostgreSQL::Test::Cluster::get_free_port();
	my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $at, Listen => 10,
		ReuseAddr => 1) or die "no socket: $!";

	$self->{relay} = Relay::start($listen,
		sub { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) },
		$options{most});
	$self->write_brokers(port => $at, %options);
	return;
}

sub cut_relay
{
	my ($self) = @_;
	my $pid = delete $self->{relay};

	kill 'KILL', $pid;
	waitpid $pid, 0;
	return;
}

# Waits until somebody can log in; gives why nobody can.
sub until_broker
{
	my ($self) = @_;
	my $why = '';

	for (1 .. $PostgreSQL::Test::Utils::timeout_default * 2)
	{
		return '' if run [ $self->peer_command('declare', '{}') ], '>', \my $out, '2>', \$why;
		return 'it has ended' if waitpid($self->{broker}, POSIX::WNOHANG) != 0;
		usleep(500_000);
	}
	return $why;
}

sub signal_broker { kill $_[1], -$_[0]{broker}; return; }

# As a power failure would.
sub kill_broker
{
	my ($self) = @_;

	$self->signal_broker('KILL');
	waitpid $self->{broker}, 0;
	return;
}

sub peer_command
{
	my ($self, @command) = @_;
	return ('node', "$FindBin::RealBin/bridge_peer.mjs", $self->{url}, @command);
}

# Runs a foreign program; gives the lines that it prints, decoded.
sub peer
{
	my ($self, $input, @command) = @_;
	my ($out, $err) = ('', '');
	my $timer = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default * 2);

	run [ $self->peer_command(@command) ], '<', \$input, '>', \$out, '2>', \$err, $timer
	  or die "peer @command: $err";
	return map { $json->allow_nonref->decode($_) } split /\n/, $out;
}

# Starts one that goes on meanwhile; finish_peer() gives what it has printed.
sub start_peer
{
	my ($self, @command) = @_;
	my $peer = { out => '', err => '' };

	$peer->{run} = start [ $self->peer_command(@command) ], '<', \undef, '>', \$peer->{out},
	  '2>', \$peer->{err}, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default * 4);
	push @{ $self->{peers} }, $peer->{run};
	return $peer;
}

sub finish_peer
{
	my ($self, $peer) = @_;

	$peer->{run}->finish or die "peer: $peer->{err}";
	return map { $json->decode($_) } split /\n/, $peer->{out};
}

# Sends messages as they are given: [exchange, key, body, options].
sub publish
{
	my ($self, @messages) = @_;
	my $input = join '', map {
		my %message = (exchange => $_->[0], key => $_->[1], body => $_->[2]);
		$json->encode({ %message, options => $_->[3] // {} }) . "\n" } @messages;

	return ($self->peer($input, 'publish'))[0];
}

# Starts a program that carries; returns its process id.
sub start_bridged
{
	my ($self, @options) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $pid = fork // die "cannot fork: $!";

	if ($pid == 0)
	{
		delete @ENV{qw(PGUSER PGSERVICE PGHOST PGPORT PGDATABASE PGAPPNAME)};
		exec('bridged', '--database=' . $self->{node}->connstr('shop'),
			"--brokers=$self->{directory}/brokers.conf", "--port=$port", '--pool-size=1',
			"--log-file=$self->{directory}/bridged.log", @options) or POSIX::_exit(127);
	}
	$self->{http}{$pid} = "http://127.0.0.1:$port";
	push @{ $self->{pids} }, $pid;
	return $pid;
}

# Waits until what a program says of itself is as wanted; gives what it says.
sub until_ready
{
	my ($self, $pid, $wanted) = @_;
	my $http = HTTP::Tiny->new(timeout => 5);
	my $content = '';

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$content = $http->get("$self->{http}{$pid}/health/ready")->{content};
		return $content if $content =~ $wanted;
		usleep(100_000);
	}
	return $content;
}

# Lets things go on for so many microseconds: when something happens is chance.
sub meanwhile { usleep($_[0]); return; }

sub stop_bridged
{
	my ($self, $pid, $signal) = @_;

	kill 'CONT', $pid;
	kill $signal // 'TERM', $pid;
	waitpid $pid, 0;
	my $status = $?;
	$self->{pids} = [ grep { $_ != $pid } @{ $self->{pids} } ];
	return $status;
}

# Whatever ends the test, nothing of it goes on.
sub end
{
	my ($self) = @_;

	kill 'KILL', splice @{ $self->{pids} };
	eval { $_->kill_kill } for splice @{ $self->{peers} };
	kill 'KILL', grep { $_ } delete $self->{relay};
	for my $group (grep { $_ } delete @$self{qw(broker epmd)})
	{
		kill 'KILL', -$group;
	}
	return;
}

END
{
	my $status = $?;

	$_->end for @beds;
	$? = $status;
}

1;
