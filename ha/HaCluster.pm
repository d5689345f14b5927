# A private etcd, and PostgreSQL servers that Patroni manages: who leads, how one dies.
#
# Everything lies in one directory, listens on 127.0.0.1 alone, and ends with the object.
# The settings are those of docs/high-availability.md.
package HaCluster;

use strict;
use warnings;

use File::Basename qw(dirname);
use HTTP::Tiny;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

# Seconds for a condition; where things get lost, not everything comes.
use constant PATIENCE => 300;

# nodes => how many servers; synchronous => 'true' or 'false'.
sub new
{
	my ($class, %options) = @_;
	my $self = bless { http => HTTP::Tiny->new(timeout => 10), pids => {}, %options }, $class;

	$self->{directory} = PostgreSQL::Test::Utils::tempdir();
	$self->{sockets} = PostgreSQL::Test::Utils::tempdir_short();
	chomp($self->{bindir} = `pg_config --bindir`);
	$self->_read_settings;
	$self->_start_etcd;
	for my $name (map { "n$_" } 1 .. $options{nodes})
	{
		my $node = $self->{node}{$name} =
		  { map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(port rest) };

		$node->{data} = "$self->{directory}/$name";
		$self->_configure($name);
	}
	# The first alone makes the cluster, the others are copies of it.
	$self->start('n1');
	$self->until('there is a leader', sub { $self->leader });
	$self->start($_) for grep { $_ ne 'n1' } keys %{ $self->{node} };
	$self->until_whole;
	return $self;
}

# What the documentation says, but synchronous or not as the test wants it; if not, those
# take over too that Patroni would find too far behind.
sub _read_settings
{
	my ($self) = @_;
	my $document =
	  PostgreSQL::Test::Utils::slurp_file(dirname(__FILE__) . '/../docs/high-availability.md');

	($self->{settings}) = $document =~ /^```yaml\n(.*?)^```$/ms or die "no settings are documented";
	my $mode = 'synchronous_mode: ' . $self->{synchronous};
	$mode .= "\n    maximum_lag_on_failover: 1000000000" if $self->{synchronous} eq 'false';
	$self->{settings} =~ s/synchronous_mode: true/$mode/
	  or die "synchronous_mode is not documented";
	($self->{ttl}) = $self->{settings} =~ /ttl: (\d+)/ or die "ttl is not documented";
	return;
}

sub _run
{
	my ($self, $name, @command) = @_;
	my $pid = fork // die "cannot fork: $!";

	if ($pid == 0)
	{
		delete @ENV{ grep { /^(?:PG|PATRONI|ETCD)/ } keys %ENV };
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{directory}/$name.log";
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	$self->{pids}{$name} = $pid;
	return $pid;
}

sub _start_etcd
{
	my ($self) = @_;
	my ($client, $peer) = map { 'http://127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port() }
	  1 .. 2;

	($self->{etcd} = $client) =~ s{^http://}{};
	$self->_run('etcd', 'etcd', '--data-dir', "$self->{directory}/etcd",
		'--listen-client-urls', $client, '--advertise-client-urls', $client,
		'--listen-peer-urls', $peer, '--initial-advertise-peer-urls', $peer,
		'--initial-cluster', "default=$peer", '--heartbeat-interval', 200,
		'--election-timeout', 2000);
	$self->until('etcd is there', sub {
			$self->{http}->get("$client/health")->{content} =~ /"true"/
	});
	return;
}

sub _configure
{
	my ($self, $name) = @_;
	my $node = $self->{node}{$name};

	PostgreSQL::Test::Utils::append_to_file("$self->{directory}/$name.yml", <<"EOT");
scope: shop
name: $name
restapi: {listen: '127.0.0.1:$node->{rest}', connect_address: '127.0.0.1:$node->{rest}'}
etcd3: {host: '$self->{etcd}'}
$self->{settings}  initdb: [{encoding: UTF8}, {locale: C}, {auth: trust}]
postgresql:
  listen: '127.0.0.1:$node->{port}'
  connect_address: '127.0.0.1:$node->{port}'
  bin_dir: '$self->{bindir}'
  data_dir: '$node->{data}'
  pgpass: '$self->{directory}/$name.pgpass'
  remove_data_directory_on_rewind_failure: true
  parameters: {unix_socket_directories: '$self->{sockets}'}
  pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 trust',
    'host replication all 127.0.0.1/32 trust']
  authentication:
    superuser: {username: postgres, password: postgres}
    replication: {username: replicator, password: replicator}
EOT
	return;
}

sub start
{
	my ($self, $name) = @_;
	return $self->_run($name, 'patroni', "$self->{directory}/$name.yml");
}

# Name of the server that leads and takes writes; nothing while there is none.
sub leader
{
	my ($self) = @_;
	for my $name (sort keys %{ $self->{node} })
	{
		my $url = "http://127.0.0.1:$self->{node}{$name}{rest}/primary";
		return $name if $self->{http}->get($url)->{status} == 200;
	}
	return;
}

# All servers are up, and one of them follows synchronously where that is wanted.
sub until_whole
{
	my ($self) = @_;

	return $self->until('all servers are there', sub {
			my $leader = $self->leader // return 0;
			my $url = "http://127.0.0.1:$self->{node}{$leader}{rest}/cluster";
			my $reply = $self->{http}->get($url);
			return 0 if $reply->{status} != 200;
			my @members = @{ decode_json($reply->{content})->{members} };
			my $running = grep { $_->{state} =~ /running|streaming/ } @members;
			my $synchronous = grep { $_->{role} eq 'sync_standby' } @members;
			my $standbys = $self->sql('postgres',
				q{SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'});
			return $running == $self->{nodes} && $standbys eq $self->{nodes} - 1
			  && ($synchronous || $self->{synchronous} eq 'false');
	});
}

# What a client is given: all servers, in their order.
sub conninfo
{
	my ($self, $database) = @_;
	my @ports = map { $self->{node}{$_}{port} } sort keys %{ $self->{node} };

	return 'host=' . join(',', ('127.0.0.1') x @ports) . ' port=' . join(',', @ports)
	  . " dbname=$database user=postgres connect_timeout=5";
}

# Asks whoever leads; undef while nobody does.
sub sql
{
	my ($self, $database, $sql) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d',
			$self->conninfo($database) . ' target_session_attrs=read-write' ],
		'<', \$sql, '>', \$out, '2>', \$err)
	  or return '';
	chomp $out;
	return $out;
}

# The machine with the leader is gone: Patroni, server, backends. With $deaf the standbys
# have heard nothing for a while before, so that what did not wait for them is lost.
# Returns the name of the dead.
sub kill_leader
{
	my ($self, $deaf) = @_;
	my $name = $self->leader // die 'nobody leads';
	my @receivers = $deaf ? $self->_processes(qr/walreceiver/) : ();
	my $postmaster = $self->_postmaster($name);

	die 'standbys without a receiver' if $deaf && @receivers != $self->{nodes} - 1;
	kill 'STOP', @receivers;
	usleep(1_500_000) if $deaf;
	kill 'KILL', $self->{pids}{$name};
	waitpid delete $self->{pids}{$name}, 0;
	kill 'KILL', $postmaster, $self->_children($postmaster);
	# What lies in their sockets they shall not read either.
	kill 'TERM', @receivers;
	kill 'CONT', @receivers;
	return $name;
}

sub _postmaster
{
	my ($self, $name) = @_;
	my $file = "$self->{node}{$name}{data}/postmaster.pid";

	return unless -s $file;
	return (split /\n/, PostgreSQL::Test::Utils::slurp_file($file))[0];
}

sub _children
{
	my ($self, $parent) = @_;
	return map { (split)[0] } grep { (split)[1] == $parent } split /\n/, `ps -eo pid=,ppid=`;
}

# Our servers' children whose titles match.
sub _processes
{
	my ($self, $title) = @_;
	my %postmaster = map { $_ => 1 } grep { defined } map { $self->_postmaster($_) }
	  keys %{ $self->{node} };

	return map { (split)[0] } grep { $postmaster{ (split)[1] } && /$title/ } split /\n/,
	  `ps -eo pid=,ppid=,args=`;
}

sub until
{
	my ($self, $what, $condition) = @_;
	my $deadline = time + ($self->{synchronous} eq 'true' ? PATIENCE : PATIENCE / 4);

	while (time < $deadline)
	{
		return 1 if $condition->();
		usleep(200_000);
	}
	die "waited in vain: $what\n";
}

sub DESTROY
{
	my ($self) = @_;
	local $? = $?;
	my @postmasters = grep { defined } map { $self->_postmaster($_) } keys %{ $self->{node} };

	kill 'KILL', values %{ $self->{pids} };
	kill 'QUIT', @postmasters;
	waitpid $_, 0 for values %{ $self->{pids} };
	return;
}

1;
