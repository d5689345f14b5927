# A database with sinks, a Kafka that stands in for a real one (kafka_stand_in.mjs), a real
# nats-server, and the question whether every event is there once and in order.
package StreamBed;

use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run qw(run);
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

my $json = JSON::PP->new->utf8->canonical;
my @beds;

sub new
{
	my ($class) = @_;
	my $self = bless { pids => [], directory => PostgreSQL::Test::Utils::tempdir_short(),
		last => 0 }, $class;

	push @beds, $self;
	$self->{node} = PostgreSQL::Test::Cluster->new('shop');
	$self->{node}->init(allows_streaming => 1);
	$self->{node}->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'\n");
	$self->{node}->start;
	$self->{node}->safe_psql('postgres', 'CREATE DATABASE shop');
	$self->sql('CREATE EXTENSION ecommerce');
	$self->{port}{$_} = PostgreSQL::Test::Cluster::get_free_port() for qw(kafka jetstream);
	$self->write_brokers;
	$self->start_broker($_) for qw(kafka jetstream);
	return $self;
}

sub sql { return $_[0]{node}->safe_psql('shop', $_[1]); }

sub until_sql { return $_[0]{node}->poll_query_until('shop', $_[1]); }

# Lets things go on for so many microseconds: when something happens is chance.
sub meanwhile { usleep($_[0]); return; }

sub url { return "nats://127.0.0.1:$_[0]{port}{jetstream}"; }

# Where streamd finds the brokers.
sub write_brokers
{
	my ($self, $mode) = @_;
	my $name = "$self->{directory}/streams.conf";

	open my $file, '>', $name or die "cannot write: $!";
	print $file "# brokers\n[kafka]\nbootstrap.servers=127.0.0.1:$self->{port}{kafka}\n",
	  "reconnect.backoff.max.ms=500\n",
	  "[jetstream]\nurl=nats://127.0.0.1:1,", $self->url, "\n";
	close $file;
	chmod $mode // 0600, $name or die "cannot chmod: $!";
	return;
}

# A process of its own group; its output goes to a file.
sub launch
{
	my ($self, $name, @command) = @_;
	my $pid = fork // die "cannot fork: $!";

	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{directory}/$name.out";
		open STDERR, '>&', \*STDOUT;
		exec(@command) or POSIX::_exit(127);
	}
	push @{ $self->{pids} }, $pid;
	return $pid;
}

# A broker, with what it had if that is on disk.
sub start_broker
{
	my ($self, $kind) = @_;
	my $port = $self->{port}{$kind};

	$self->{broker}{$kind} = $self->launch($kind,
		$kind eq 'kafka' ? ('node', "$FindBin::RealBin/kafka_stand_in.mjs", $port)
		: ('nats-server', '--addr', '127.0.0.1', '--port', $port, '--jetstream',
			'--store_dir', "$self->{directory}/nats"));
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return
		  if IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $port, Proto => 'tcp');
		usleep(10_000);
	}
	die "$kind does not start, see $self->{directory}/$kind.out";
}

sub signal_broker { kill $_[2], $_[0]{broker}{ $_[1] }; return; }

# As a crash would; it keeps what it has confirmed.
sub crash_broker
{
	my ($self, $kind) = @_;

	return $self->signal_broker($kind, 'USR2') if $kind eq 'kafka';
	$self->stop($self->{broker}{$kind}, 'KILL');
	return $self->start_broker($kind);
}

# Starts a streamd; returns its process id.
sub start_streamd
{
	my ($self, @options) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	delete local @ENV{qw(PGUSER PGSERVICE PGHOST PGPORT PGDATABASE PGAPPNAME)};
	my $pid = $self->launch('streamd', 'streamd', '--database=' . $self->{node}->connstr('shop'),
		"--brokers=$self->{directory}/streams.conf", "--port=$port", '--pool-size=1', @options);

	$self->{http}{$pid} = "http://127.0.0.1:$port";
	return $pid;
}

sub get { return HTTP::Tiny->new(timeout => 5)->get("$_[0]{http}{$_[1]}$_[2]")->{content}; }

# Waits until what a program says of itself is as wanted; gives what it says.
sub until_ready
{
	my ($self, $pid, $wanted) = @_;
	my $content = '';

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$content = $self->get($pid, '/health/ready');
		return $content if $content =~ $wanted;
		usleep(100_000);
	}
	return $content;
}

# Ends a process; returns how it has ended.
sub stop
{
	my ($self, $pid, $signal) = @_;

	kill $signal // 'TERM', $pid;
	kill 'CONT', $pid;
	waitpid $pid, 0;
	my $status = $?;
	$self->{pids} = [ grep { $_ != $pid } @{ $self->{pids} } ];
	return $status;
}

# Appends so many events to ten streams; with so many times 32 bytes in each.
sub append
{
	my ($self, $count, $size) = @_;
	my $first = $self->{last} + 1;

	$size //= 1;
	$self->{last} += $count;
	$self->sql("SELECT count(event_store.append('order-' || n % 10, -1, 'Counted', (
		SELECT jsonb_build_object('n', n, 'more', string_agg(md5(n::text || m), ''))
		FROM generate_series(1, $size) m))) FROM generate_series($first, $self->{last}) n");
	return;
}

# The events that a sink has, as others read them: attributes and body of each.
sub events
{
	my ($self, $kind, $name) = @_;
	return $kind eq 'kafka' ? $self->kafka_events($name) : $self->jetstream_events($name);
}

# What is committed, as kcat reads it.
sub kafka_events
{
	my ($self, $topic) = @_;
	my ($out, $err) = ('', '');

	run [ 'kcat', '-b', "127.0.0.1:$self->{port}{kafka}", '-C', '-t', $topic, '-e', '-q', '-J',
		'-X', 'isolation.level=read_committed', '-X', 'fetch.wait.max.ms=50' ],
	  '>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)
	  or die "kcat: $err";
	return map {
		my $message = $json->decode($_);
		my %headers = @{ $message->{headers} // [] };
		+{ %$message, headers => \%headers, body => $message->{payload},
			map { /^ce_(.*)/ ? ($1 => $headers{$_}) : () } keys %headers }
	} split /\n/, $out;
}

sub nats
{
	my ($self, @command) = @_;
	my ($out, $err) = ('', '');

	run [ 'node', "$FindBin::RealBin/nats_peer.mjs", $self->url, @command ], '>', \$out, '2>',
	  \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)
	  or die "nats: $err";
	return map { $json->decode($_) } split /\n/, $out;
}

sub jetstream_events
{
	my ($self, $stream) = @_;
	return map {
		my $headers = $_->{headers};
		+{ %$_, map { /^ce-(.*)/ ? ($1 => $headers->{$_}) : () } keys %$headers }
	} $self->nats('read', $stream);
}

# Creates a sink of what comes from now on.
sub create
{
	my ($self, $kind, $name) = @_;
	my $after = $self->{after}{$name} = $self->sql('SELECT coalesce(max(position), 0)
		FROM event_store.read_all(0, 10000000)');

	$self->sql(qq{SELECT event_store.create_sink('$name', '$kind', '{"broker": "$kind"}',
		after_position => $after)});
	return;
}

# What is wrong with what a sink has, one line each.
sub complaints
{
	my ($self, $kind, $name) = @_;
	my $after = $self->{after}{$name} // 0;
	my %stored = map { $_ => 1 } split /\n/, $self->sql("SELECT stream || ' ' || version FROM
		event_store.read_all($after, 10000000)");
	my %wrong = (lost => 0, doubled => 0, invented => 0, reordered => 0);
	my (%seen, %last);

	for my $event ($self->events($kind, $name))
	{
		my $key = "$event->{subject} $event->{version}";

		$wrong{doubled}++ if $seen{$key}++;
		$wrong{invented}++ unless $stored{$key};
		$wrong{reordered}++ if $event->{version} < ($last{ $event->{subject} } // 0);
		$last{ $event->{subject} } = $event->{version};
	}
	$wrong{lost} = grep { !$seen{$_} } keys %stored;
	return join '', map { "$_: $wrong{$_}\n" } grep { $wrong{$_} } sort keys %wrong;
}

# Waits until streamd has said that all is there.
sub until_published
{
	my ($self, $name) = @_;
	return $self->until_sql("SELECT lag IS NULL FROM event_store.sinks WHERE name = '$name'");
}

# Whatever ends the test, nothing of it goes on.
END
{
	my $status = $?;

	kill 'KILL', splice @{ $_->{pids} } for @beds;
	$? = $status;
}

1;
