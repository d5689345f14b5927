# A link for long: messages go while the programs that carry them, backends and servers are
# killed, and either side fails over to its synchronous standby. Nothing is lost, doubled,
# invented or out of the order of its key.
# Commits of both sides wait for their standbys all the time.
#   LINK_MESSAGES, LINK_KILLS, LINK_FAILOVERS   how many, at least; `make check-links` has more
#   LINK_SEED                                   another course
use strict;
use warnings FATAL => 'all';

use File::Path qw(rmtree);
use FindBin;
use lib $FindBin::RealBin;
use LinkBed;
use POSIX qw(:sys_wait_h);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $messages = $ENV{LINK_MESSAGES} // 5_000;
my $kills = $ENV{LINK_KILLS} // 15;
my $failovers = $ENV{LINK_FAILOVERS} // 2;
my $seed = $ENV{LINK_SEED} // int time;
my $backlog = 20_000;
my $slack = $messages / 10 < 5000 ? $messages / 10 : 5000;

srand $seed;
note "LINK_SEED=$seed";
$PostgreSQL::Test::Utils::timeout_default = 1800;
# Test clusters end when a backend is killed unless told.
my $bed = LinkBed->new('long',
	map { ("conf_$_" => "max_wal_size = 256MB\nrestart_after_crash = on\n") } qw(a b));
my %standby;
my %done = map { $_ => 0 } qw(carrier stop backend server standby failover);
my ($began, $told) = (time) x 2;

# What is killed, and how often beside the others.
my @deeds = ([ carrier => 80, \&kill_carrier ], [ stop => 8, \&stop_carrier ],
	[ backend => 4, \&kill_backend ], [ server => 4, \&crash_server ],
	[ standby => 4, \&crash_standby ]);

# A standby that every commit of that side waits for, a copy of its server as it is.
sub add_standby
{
	my ($side) = @_;
	my $primary = $bed->{$side};
	my $name = $side . ++$done{copies};
	my $node = PostgreSQL::Test::Cluster->new($name);

	$primary->backup($name);
	$node->init_from_backup($primary, $name, has_streaming => 1);
	rmtree($primary->backup_dir . "/$name");
	$node->append_conf('postgresql.conf',
		"primary_conninfo = '" . $primary->connstr . " application_name=standby'");
	$node->start;
	$standby{$side} = $node;
	return;
}

sub kill_carrier
{
	my $pid = $bed->{pids}[ rand @{ $bed->{pids} } ];

	$bed->stop_linkd($pid, 'KILL');
	$bed->start_linkd;
	return;
}

sub stop_carrier
{
	my $pid = $bed->{pids}[ rand @{ $bed->{pids} } ];

	kill 'STOP', $pid;
	LinkBed::meanwhile(rand 500_000);
	kill 'CONT', $pid;
	return;
}

# The server restarts all its processes.
sub kill_backend
{
	my $pid = asked(side(), q{SELECT pid FROM pg_stat_activity
		WHERE application_name = 'linkd' ORDER BY random() LIMIT 1});

	kill 'KILL', $pid if $pid;
	return;
}

sub crash_server { $bed->crash(side()); return; }

# Until it is back, nothing that is new may leave.
sub crash_standby
{
	my $node = $standby{ side() };

	$node->kill9;
	LinkBed::meanwhile(rand 500_000);
	LinkBed::start_after_crash($node);
	return;
}

sub side { return (qw(a b))[ rand 2 ]; }

sub fail_over
{
	my $side = (qw(a b))[ $done{failover} % 2 ];
	my $old = $bed->{$side};

	$old->kill9;
	$standby{$side}->promote;
	$bed->{$side} = $standby{$side};
	$bed->write_services;
	$old->stop('immediate', fail_ok => 1);
	add_standby($side);
	rmtree($old->data_dir);
	$done{failover}++;
	return;
}

# What a side answers, 0 while it does not: then psql may be gone before it has read the question.
sub asked
{
	my ($side, $sql) = @_;
	my ($status, $out) = eval { $bed->{$side}->psql($bed->{database}, $sql, timeout => 600) };

	return defined $status && $status == 0 && ($out // '') =~ /^\d+$/ ? $out : 0;
}

# Load that has died with its server begins again.
sub keep_loading
{
	my %start = (a => sub { $bed->start_senders(86400) }, b => sub { $bed->start_consumers });

	for my $side (@_)
	{
		my $pid = $bed->{load}{$side};

		next if $pid && waitpid($pid, WNOHANG) == 0;
		$start{$side}->();
	}
	return;
}

# Senders wait while they are ahead of what shall happen to their messages.
sub pace
{
	my ($arrived, $due) = @_;
	my $ahead = asked('a', q{SELECT unconfirmed FROM message_bus.forwards WHERE endpoint = 'out'});

	kill(($ahead > $backlog || $arrived + $ahead > $due + $slack) ? 'STOP' : 'CONT',
		$bed->{load}{a});
	return;
}

sub progress
{
	my ($arrived) = @_;

	return if time < $told + 10;
	$told = time;
	diag(sprintf '%4d s: %d messages have arrived; %s', $told - $began, $arrived,
		join ', ', map { "$done{$_} ${_}s" } qw(carrier stop backend server standby failover));
	return;
}

sub do_something
{
	my $dice = rand 100;

	for (@deeds)
	{
		my ($name, $weight, $deed) = @$_;

		next if ($dice -= $weight) >= 0;
		$deed->();
		$done{$name}++;
		return $name ne 'stop';
	}
	return 0;
}

for my $side (qw(a b))
{
	add_standby($side);
	$bed->{$side}->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'");
	$bed->{$side}->reload;
	$standby{$side}->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'");
	$standby{$side}->reload;
	ok($bed->{$side}->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'}),
		"commits of $side wait for a standby");
}
$bed->start_linkd for 1 .. 2;

my ($killed, $arrived) = (0, 0);
while ($arrived < $messages || $killed < $kills || $done{failover} < $failovers)
{
	my $due = $messages * ($killed + 1) / ($kills + 1);

	keep_loading(qw(a b));
	$arrived = asked('b', q{SELECT coalesce(sum(accepted), 0) FROM message_bus.links});
	progress($arrived);
	pace($arrived, $due);
	if ($arrived < $due)
	{
		LinkBed::meanwhile(20_000);
		next;
	}
	$killed++ if $killed < $kills && do_something();
	fail_over() if $done{failover} < int($failovers * $killed / $kills);
}
kill 'CONT', $bed->{load}{a};
kill 'TERM', $bed->{load}{a};
$bed->finish_senders;
keep_loading('b');
ok($bed->drained, 'everything arrives');
$bed->stop_consumers;
my $sent = $bed->sent;
cmp_ok($sent, '>=', $messages, "$sent messages");
cmp_ok($killed, '>=', $kills, "$killed killed");
is($bed->complaints, '', 'nothing is lost, doubled, invented or reordered');
is($bed->sql('b', 'SELECT state FROM message_bus.links'), 'running', 'nobody calls it lost');
diag(sprintf '%d messages, %s, in %d s', $sent,
	join(', ', map { "$done{$_} ${_}s" } qw(carrier stop backend server standby failover)),
	time - $began);
$bed->stop_all;
done_testing();
