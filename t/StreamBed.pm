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

# secure => 1: brokers that take TLS only, and ask for a password; mechanism => how Kafka does.
sub new
{
	my ($class, %options) = @_;
	my $self = bless { pids => [], directory => PostgreSQL::Test::Utils::tempdir_short(),
		last => 0, mechanism => 'PLAIN', %options }, $class;

	push @beds, $self;
	$self->{node} = PostgreSQL::Test::Cluster->new('shop');
	$self->{node}->init(allows_streaming => 1);
	$self->{node}->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'\n");
	$self->{node}->start;
	$self->{node}->safe_psql('postgres', 'CREATE DATABASE shop');
	$self->sql('CREATE EXTENSION ecommerce');
	$self->{port}{$_} = PostgreSQL::Test::Cluster::get_free_port() for qw(kafka jetstream);
	$self->make_certificates if $self->{secure};
	$self->write_brokers;
	$self->start_broker($_) for qw(kafka jetstream);
	return $self;
}

sub sql { return $_[0]{node}->safe_psql('shop', $_[1]); }

sub until_sql { return $_[0]{node}->poll_query_until('shop', $_[1]); }

# Lets things go on for so many microseconds: when something happens is chance.
sub meanwhile { usleep($_[0]); return; }

sub url { return "nats://127.0.0.1:$_[0]{port}{jetstream}"; }

# Two authorities, ca and other, and what ca says of who is at this address (server) and of who is
# elsewhere (elsewhere): NAME.pem and NAME.key.
sub make_certificates
{
	my ($self) = @_;
	my %subject = (ca => '/CN=ca', other => '/CN=other', server => '/CN=server',
		elsewhere => '/CN=elsewhere');
	my %address = (server => 'IP:127.0.0.1,DNS:localhost', elsewhere => 'DNS:elsewhere.example');

	for my $name (qw(ca other server elsewhere))
	{
		my ($key, $pem, $request) = map { "$self->{directory}/$name.$_" } qw(key pem csr);
		my @new = ('openssl', 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout', $key, '-subj',
			$subject{$name});
		my @run = !$address{$name} ? [ @new, '-x509', '-days', 2, '-out', $pem ]
		  : ([ @new, '-out', $request, '-addext', "subjectAltName=$address{$name}" ],
			[ 'openssl', 'x509', '-req', '-in', $request, '-CA', "$self->{directory}/ca.pem",
				'-CAkey', "$self->{directory}/ca.key", '-CAcreateserial', '-days', 2,
				'-copy_extensions', 'copy', '-out', $pem ]);

		for (@run)
		{
			my ($out, $err);

			run $_, '>', \$out, '2>', \$err or die "openssl: $err";
		}
	}
	return;
}

# What a client says of itself to secure brokers.
sub settings
{
	my ($self, $kind) = @_;

	return () unless $self->{secure};
	return (user => 'shop', password => 'open sesame', cacert => "$self->{directory}/ca.pem")
	  if $kind eq 'jetstream';
	return ('security.protocol' => 'SASL_SSL', 'sasl.mechanism' => $self->{mechanism},
		'sasl.username' => 'shop', 'sasl.password' => 'open sesame',
		'ssl.ca.location' => "$self->{directory}/ca.pem");
}

# Where streamd finds the brokers. mode => of the file; kafka, jetstream => settings that are other.
sub write_brokers
{
	my ($self, %options) = @_;
	my $name = "$self->{directory}/streams.conf";
	my %section = (
		kafka => { 'bootstrap.servers' => "127.0.0.1:$self->{port}{kafka}",
			'reconnect.backoff.max.ms' => 500 },
		jetstream => { url => ($self->{secure} ? '' : 'nats://127.0.0.1:1,') . $self->url });

	open my $file, '>', $name or die "cannot write: $!";
	print $file "# brokers\n";
	for my $kind (sort keys %section)
	{
		my %settings = (%{ $section{$kind} }, $self->settings($kind), %{ $options{$kind} // {} });
		print $file "[$kind]\n",
		  map { defined $settings{$_} ? "$_=$settings{$_}\n" : '' } sort keys %settings;
	}
	close $file;
	chmod $options{mode} // 0600, $name or die "cannot chmod: $!";
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

# How a broker is started; certificate => whose.
sub broker_command
{
	my ($self, $kind, $certificate) = @_;
	my $port = $self->{port}{$kind};
	my @pair = map { "$self->{directory}/" . ($certificate // 'server') . ".$_" } qw(pem key);
	my %secure = (kafka => [ @pair, 'shop', 'open sesame', $self->{mechanism} ],
		jetstream => [ '--tls', '--tlscert', $pair[0], '--tlskey', $pair[1], '--user', 'shop',
			'--pass', 'open sesame' ]);
	my @secure = $self->{secure} ? @{ $secure{$kind} } : ();

	return ('node', "$FindBin::RealBin/kafka_stand_in.mjs", $port, @secure) if $kind eq 'kafka';
	return ('nats-server', '--addr', '127.0.0.1', '--port', $port, '--jetstream', '--store_dir',
		"$self->{directory}/nats", @secure);
}

# A broker, with what it had if that is on disk.
sub start_broker
{
	my ($self, $kind, $certificate) = @_;
	my $port = $self->{port}{$kind};

	$self->{broker}{$kind} = $self->launch($kind, $self->broker_command($kind, $certificate));
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

# Ends a process; returns how it has ended. Told to go on afterwards, it might be at its leak
# check by then, which stops all threads and would wait for that forever.
sub stop
{
	my ($self, $pid, $signal) = @_;

	kill 'CONT', $pid;
	kill $signal // 'TERM', $pid;
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
	my %settings = ('isolation.level' => 'read_committed', 'fetch.wait.max.ms' => 50,
		$self->settings('kafka'));

	run [ 'kcat', '-b', "127.0.0.1:$self->{port}{kafka}", '-C', '-t', $topic, '-e', '-q', '-J',
		map { ('-X', "$_=$settings{$_}") } sort keys %settings ],
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

	local $ENV{NATS_SETTINGS} = $json->encode({ $self->settings('jetstream') });
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
