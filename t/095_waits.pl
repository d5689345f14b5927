# One CALL waits for all that a process consumes, asleep on its latch: events, messages, a
# partition or a lane that somebody lets go of, however he does; wait_projection for what
# it follows. Each waiter must be seen asleep before what wakes it is done.
use strict;
use warnings FATAL => 'all';

use IPC::Run qw(start finish);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'ecommerce'\nmax_prepared_transactions = 2");
$node->start;
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION ecommerce;
	SELECT event_store.create_subscription('mailer', 'order');
	SELECT event_store.create_subscription('all', partitions => 2);
	SELECT event_store.create_subscription('s' || i, 'c' || i) FROM generate_series(1, 9) i;
	SELECT message_bus.create_endpoint('billing');
	SELECT message_bus.create_endpoint('shipping');
	CREATE TABLE seen (at bigint);
	CREATE FUNCTION see(event event_store.event) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO public.seen VALUES ((event).position) $$;
	SELECT event_store.create_projection('async', 'see(event_store.event)', 'order');
	SELECT event_store.create_projection('inline', 'see(event_store.event)', 'order',
		mode => 'inline')});

# A session whose steps are given one by one, as a consumer's.
sub session
{
	my %session = (in => '', out => '', err => '');
	$session{run} = start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1',
			'-d', $node->connstr('postgres') ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err});
	return \%session;
}

sub step
{
	my ($session, $sql) = @_;
	my $mark = 'done ' . length($session->{out});

	$session->{in} .= "$sql;\n\\echo $mark\n";
	$session->{run}->pump until $session->{out} =~ /\Q$mark\E\n/;
}

# Starts a CALL and returns when it sleeps.
sub waiter
{
	my ($call) = @_;
	my %waiter = (out => '', err => '');

	$waiter{run} = start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "CALL $call" ],
		'<', '/dev/null', '>', \$waiter{out}, '2>', \$waiter{err});
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
		WHERE state = 'active' AND wait_event = 'Extension' AND query LIKE 'CALL %wait%'
			AND backend_xmin IS NULL})
	  or die "it does not sleep: $waiter{out}$waiter{err}";
	return \%waiter;
}

sub returns
{
	my ($waiter, $expected, $what) = @_;

	# At its timeout it would look once more: that would be too late.
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE state = 'active' AND query LIKE 'CALL %wait%'})
	  or $node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE state = 'active' AND query LIKE 'CALL %wait%'});
	finish($waiter->{run});
	is($waiter->{out} . $waiter->{err}, "$expected\n", $what);
}

sub sleeps_still
{
	my ($what) = @_;
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
			WHERE wait_event = 'Extension' AND query LIKE 'CALL %wait%'}),
		1, $what);
}

sub append { $node->safe_psql('postgres', "SELECT event_store.append('$_[0]', -1, 'A', '{}')") }

my $many = q{ecommerce.wait('{mailer,s1}', '{billing,shipping}', '10 min')};

# Events and messages.
my $waiter = waiter($many);
append('other-1');
sleeps_still('an event of another category is nobody\'s business');
append('c1-1');
returns($waiter, '{s1}', 'an event ends the wait, and the subscription is named');
$node->safe_psql('postgres', q{SELECT event_store.reset_subscription('s1',
	event_store.high_water_mark())});
$waiter = waiter($many);
$node->safe_psql('postgres', q{SELECT message_bus.send('shipping', 'T', '{}')});
returns($waiter, '{shipping}', 'so does a message');

# A partition that somebody lets go of.
append('order-1');
my $holder = session();
for my $end ('COMMIT', 'ROLLBACK', 'ROLLBACK TO before', 'terminated')
{
	step($holder, 'BEGIN; SAVEPOINT before');
	step($holder, q{SELECT count(*) FROM event_store.fetch('mailer')});
	$waiter = waiter(q{ecommerce.wait('{mailer}', '{}', '10 min')});
	append('order-1');
	sleeps_still('what falls into a partition that is held is its holder\'s');
	if ($end eq 'terminated')
	{
		$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE state = 'idle in transaction'});
	}
	else { step($holder, $end) }
	returns($waiter, '{mailer}', "a partition let go of by $end");
	step($holder, 'ROLLBACK') if $end =~ /before/;
}
eval { $holder->{run}->kill_kill };
for my $end ('COMMIT', 'ROLLBACK')
{
	$node->safe_psql('postgres', q{BEGIN; SELECT count(*) FROM event_store.fetch('mailer');
		PREPARE TRANSACTION 'held'});
	$waiter = waiter(q{ecommerce.wait('{mailer}', '{}', '10 min')});
	$node->safe_psql('postgres', "$end PREPARED 'held'");
	returns($waiter, '{mailer}', "a partition let go of by $end PREPARED");
}

# Who holds one of two partitions leaves the other's events to be waited for.
$node->safe_psql('postgres', q{SELECT event_store.reset_subscription('all',
	event_store.high_water_mark())});
$waiter = waiter(q{event_store.wait_subscription('all', '10 min')});
append('any-1');
returns($waiter, 't', 'wait_subscription');

# A lane that somebody lets go of.
$node->safe_psql('postgres', q{SELECT message_bus.send('billing', 'T', '{}')});
$holder = session();
step($holder, q{BEGIN; SELECT count(*) FROM message_bus.receive('billing', 10)});
$waiter = waiter(q{ecommerce.wait('{}', '{billing}', '10 min')});
step($holder, 'ROLLBACK');
returns($waiter, '{billing}', 'a lane let go of');

# More than has room in a slot of shared memory.
$waiter = waiter(q{ecommerce.wait('{s1,s2,s3,s4,s5,s6,s7,s8,s9}', '{}', '10 min')});
append('c9-1');
returns($waiter, '{s9}', 'the last of many');

# Something dropped meanwhile.
$waiter = waiter(q{ecommerce.wait('{s2,s3}', '{}', '10 min')});
$node->safe_psql('postgres', q{SELECT event_store.drop_subscription('s3')});
append('c3-1');
append('c2-1');
finish($waiter->{run});
like($waiter->{err}, qr/subscription "s3" does not exist/, 'a subscription that has gone');

# What it is to changes meanwhile, or where it is.
$node->safe_psql('postgres', q{SELECT event_store.create_subscription('moved', 'm1',
	start_after => event_store.high_water_mark())});
append("m$_-1") for 2, 3;
my %changes = (
	'another category' => q{alter_subscription('moved', category => 'm2')},
	'another type' => q{alter_subscription('moved', event_types => '{A}')},
	'back to the beginning' => q{reset_subscription('moved', 0)});
for my $change (sort keys %changes)
{
	if ($change =~ /type/)
	{
		$node->safe_psql('postgres',
			q{SELECT event_store.alter_subscription('moved', 'm2', '{B}')});
		append('m2-1');
	}
	$waiter = waiter(q{ecommerce.wait('{moved}', '{}', '10 min')});
	$node->safe_psql('postgres', "SELECT event_store.$changes{$change}");
	returns($waiter, '{moved}', $change);
	$node->safe_psql('postgres', q{SELECT event_store.reset_subscription('moved',
		event_store.high_water_mark())});
}
for my $call (q{ecommerce.wait('{moved}', '{}', '10 min')},
	q{event_store.wait_subscription('moved', '10 min')})
{
	$node->safe_psql('postgres', q{SELECT event_store.alter_subscription('moved', 'm1')});
	$waiter = waiter($call);
	my $before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	$node->safe_psql('postgres', q{SELECT event_store.alter_subscription('moved', 'm3')});
	# It has looked, and sleeps again.
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity
		WHERE query LIKE 'CALL %wait%' AND wait_event = 'Extension' AND xact_start > '$before'"),
		"$call hears of the change");
	append('m3-1');
	returns($waiter, $call =~ /moved}/ ? '{moved}' : 't', "an event of what it is to now: $call");
	$node->safe_psql('postgres', q{SELECT event_store.reset_subscription('moved',
		event_store.high_water_mark())});
}
$waiter = waiter(q{ecommerce.wait('{moved}', '{}', '10 min')});
$node->safe_psql('postgres', q{SELECT event_store.drop_subscription('moved')});
returns($waiter, q{ERROR:  subscription "moved" does not exist
HINT:  Type SELECT event_store.create_subscription('moved').}, 'nobody waits for what was dropped');

# Read your writes.
for my $projection ('async', 'inline')
{
	$node->safe_psql('postgres', "SELECT event_store.pause_projection('$projection')");
	my $at = $node->safe_psql('postgres',
		q{SELECT position FROM event_store.append('order-2', -1, 'A', '{}')});
	$waiter = waiter("event_store.wait_projection('$projection', $at, '10 min')");
	append('other-1');
	sleeps_still("$projection: it has not got there");
	$node->safe_psql('postgres', "SELECT event_store.resume_projection('$projection')");
	returns($waiter, 't', "$projection: wait_projection returns when it has");
	$at = append('other-2') =~ /,(\d+)/ && $1;
	is( $node->safe_psql('postgres',
			"CALL event_store.wait_projection('$projection', $at, '10 min')"),
		't', "$projection: what is not for it is not waited for");
}
is($node->safe_psql('postgres', q{SELECT count(DISTINCT at) = count(*) / 2 FROM seen
		WHERE at > (SELECT min(position) FROM event_store.read_stream('order-2'))}),
	't', 'both have followed');
is($node->safe_psql('postgres', q{CALL event_store.wait_projection('async', 1000000, '1 ms')}),
	'f', 'a position that nobody has reached');

# On a stranger's account: a reader may wait, anybody else may not.
my ($status, $out, $err) = $node->psql('postgres', q{CREATE ROLE stranger; SET ROLE stranger;
	CALL ecommerce.wait('{mailer}', '{}', '1 ms')});
like($err, qr/permission denied/, 'not for everybody');

$node->stop;
done_testing();
