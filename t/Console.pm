# A console for tests: consoled beside a server, roles that log in with a password, what one asks
# it over HTTP, and a browser that a script drives.
package Console;

use strict;
use warnings;

use File::Basename qw(dirname);
use HTTP::Tiny;
use IPC::Open2;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $json = JSON::PP->new->canonical->allow_nonref;

# shop: whose server it looks at, in database shop. roles: name => group, 'ecommerce_reader'.
sub new
{
	my ($class, $shop, %roles) = @_;
	my $node = $shop->{node};
	my $self = bless { shop => $shop, node => $node,
		port => PostgreSQL::Test::Cluster::get_free_port(),
		http => HTTP::Tiny->new(timeout => 60),
		password => { map { $_ => 'secret-' . Shop::uuid() } keys %roles } }, $class;
	my $hba = $node->data_dir . '/pg_hba.conf';
	my $before = slurp_file($hba);

	$self->{address} = "http://127.0.0.1:$self->{port}";
	$node->safe_psql('shop', "DO \$\$ BEGIN
			CREATE ROLE ecommerce_console LOGIN IN ROLE ecommerce_monitor;
			EXCEPTION WHEN duplicate_object THEN NULL; END \$\$;
		SET password_encryption = 'scram-sha-256'; " . join '', map {
		"CREATE ROLE $_ LOGIN PASSWORD '$self->{password}{$_}'"
		  . ($roles{$_} ? " IN ROLE $roles{$_}; " : '; ') } sort keys %roles);
	unlink $hba;
	append_to_file($hba, 'local all ' . join(',', sort keys %roles) . " scram-sha-256\n$before");
	$node->reload;
	return $self;
}

# One that somebody else has started, with the passwords of those who may log in.
sub at
{
	my ($class, $address, %password) = @_;
	return bless { address => $address, password => \%password }, $class;
}

# Starts it, anew if it runs, and returns when it is ready.
sub start
{
	my ($self, @options) = @_;

	$self->stop;
	my $pid = fork // die "cannot fork: $!\n";
	if ($pid == 0)
	{
		delete @ENV{qw(PGUSER PGSERVICE)};
		$ENV{ECOMMERCE_GATEWAY_SECRET} = $self->{shop}{secret} if $self->{shop}{secret};
		exec($self->{shop}->program('console'), '--database=' . $self->{node}->connstr('shop')
			  . ' user=ecommerce_console', "--port=$self->{port}", '--log-file='
			  . $self->{shop}->log_file('console'), @options) or die "cannot run consoled: $!\n";
	}
	$self->{pid} = $pid;
	$self->{shop}->until('consoled is ready', sub {
		$self->{http}->get("$self->{address}/health/ready")->{status} == 200 });
	return;
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;

	kill 'TERM', $pid;
	waitpid $pid, 0;
	is($?, 0, 'consoled stops on request');
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;

	kill 'KILL', $self->{pid} if $self->{pid};
	waitpid $self->{pid}, 0 if $self->{pid};
	return;
}

# Logs in; returns the headers that go with every request, or the reply if it is refused.
sub log_in
{
	my ($self, $role, $word, $http) = @_;
	my $reply = ($http // $self->{http})->post("$self->{address}/api/log-in", { headers => {
			'Content-Type' => 'application/json' }, content => $json->encode(
			{ role => $role, password => $word // $self->{password}{$role} }) });

	return $reply if $reply->{status} != 200;
	my ($cookie) = $reply->{headers}{'set-cookie'} =~
	  /^([^;]+); Path=\/; HttpOnly; SameSite=Strict$/;
	return { Cookie => $cookie, 'X-CSRF-Token' => $json->decode($reply->{content})->{csrf} };
}

sub post
{
	my ($self, $who, $action, $body) = @_;
	return $self->{http}->post("$self->{address}/api/$action", { headers => { %$who,
			'Content-Type' => 'application/json' }, content => $json->encode($body) });
}

sub get
{
	my ($self, $who, $path) = @_;
	return $self->{http}->get("$self->{address}/$path", $who ? { headers => $who } : {});
}

# Runs a script beside us that drives a browser. It is told facts, as a line of JSON; what it has
# found comes as lines of TAP, and what only we can do it asks for: "do duty argument".
sub browse
{
	my ($self, $script, $facts, %duties) = @_;
	my $directory = dirname(__FILE__);
	my $pid = open2(my $out, my $in, 'node', "$directory/$script");

	print $in $json->encode({ address => $self->{address}, password => $self->{password},
		pictures => $self->pictures, profile => PostgreSQL::Test::Utils::tempdir(), %$facts }),
	  "\n";
	$in->flush;
	while (my $line = <$out>)
	{
		chomp $line;
		if ($line =~ /^(not )?ok (.*)/) { ok(!$1, $2) }
		elsif ($line =~ /^do (.*)/)
		{
			my $said = $duties{$1}->();
			print $in $json->encode($said // 'done'), "\n";
			$in->flush;
		}
		else { diag($line) }
	}
	waitpid $pid, 0;
	is($?, 0, 'the browser ran to its end');
	return;
}

# Where pictures are left, beside the logs.
sub pictures
{
	my $directory = "$ENV{TESTLOGDIR}/console_pictures";

	mkdir $directory;
	return $directory;
}

1;
