# Databases and the extension come and go under live workers.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('databases');
$node->init;
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'ecommerce'\nmax_prepared_transactions = 2\n"
	. "max_worker_processes = 80\nlog_min_messages = debug1");
$node->start;

sub workers
{
	return "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecommerce worker'
		AND datname = '$_[0]'";
}

sub has_worker
{
	my ($database, $count, $what) = @_;
	ok($node->poll_query_until('postgres', workers($database), $count), $what);
}

sub sqlstate_of
{
	my ($database, $sql) = @_;
	my ($code, $out, $err) =
	  $node->psql($database, $sql, on_error_stop => 1, extra_params => [ '-v',
	  	'VERBOSITY=sqlstate' ]);
	return $err =~ /ERROR:  (\w{5})/ ? $1 : "none: $err";
}

# Waits until each of the databases with these numbers has had a worker, and none is on its way.
sub have_looked
{
	my %left = map { $_ => 1 } split / /, $_[0];
	my $live = q{SELECT string_agg(pid::text, ' ') FROM pg_stat_activity
		WHERE backend_type = 'ecommerce worker'};

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $before = $node->safe_psql('postgres', $live);
		my $log = slurp_file($node->logfile);
		my @started =
		  $log =~ /starting background worker process "ecommerce worker for database (\d+)"/g;
		my @ended = $log =~ /background worker "ecommerce worker" \(PID \d+\) exited/g;

		delete @left{@started};
		return 1 if !%left && @started == @ended + split(/ /, $before)
			&& $node->safe_psql('postgres', $live) eq $before;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

ok( $node->poll_query_until(
		'postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
		WHERE backend_type = 'ecommerce launcher'}),
	'the launcher runs');
$node->safe_psql('postgres', 'CREATE DATABASE shop');

# Roles that somebody has made beforehand do not become more than they are, unseen.
for my $role ('ecommerce_admin SUPERUSER', 'ecommerce_reader LOGIN', 'ecommerce_monitor CREATEROLE',
	'ecommerce_worker LOGIN PASSWORD \'x\'', 'ecommerce_worker NOLOGIN')
{
	my ($name) = split / /, $role;
	$node->safe_psql('shop', "CREATE ROLE $role");
	my ($code, $out, $err) = $node->psql('shop', 'CREATE EXTENSION ecommerce');
	like($err, qr/role "$name" exists already, and is not as .*HINT: .*DROP ROLE $name/s,
		"role $role is not taken over");
	$node->safe_psql('shop', "DROP ROLE $name");
}
$node->safe_psql('shop',
	'CREATE ROLE ecommerce_writer; CREATE ROLE "mal lory" IN ROLE ecommerce_writer');
my ($code, $out, $err) = $node->psql('shop', 'CREATE EXTENSION ecommerce');
is($code, 0, 'one that is as it should be is');
like($err, qr/WARNING: .*"ecommerce_writer" exists already, and has members: "mal lory".*REVOKE/s,
	'with a warning of its members');
$node->safe_psql('shop', 'DROP ROLE "mal lory"');
has_worker('shop', '1', 'CREATE EXTENSION brings a worker');
is( $node->safe_psql('postgres', q{
		SELECT a.usename, r.rolsuper FROM pg_stat_activity a JOIN pg_roles r
			ON r.rolname = a.usename
		WHERE a.backend_type = 'ecommerce worker'}),
	'ecommerce_worker|f', 'it is no superuser');

# DROP EXTENSION
$node->safe_psql('shop', q{SELECT event_store.append('order-1', 0, 'OrderPlaced', '{}')});
is(sqlstate_of('shop', 'DROP EXTENSION ecommerce'), 'ST007',
	'DROP EXTENSION is refused while there are events');
is(sqlstate_of('shop', 'DROP EXTENSION ecommerce CASCADE'), 'ST007', 'with CASCADE too');
is( sqlstate_of('shop',
	'SET event_store.allow_drop = on; BEGIN; DROP EXTENSION ecommerce; ROLLBACK'),
	'none: ', 'a setting allows it');
is( $node->safe_psql('shop', q{SELECT "position" FROM event_store.append('order-1', 1,
	'OrderPlaced', '{}')}),
	'2', 'after a rollback all goes on');

# One that was dropped and made anew in a transaction that did not commit, or in a part of it.
my $anew = q{SET event_store.allow_drop = on; DROP EXTENSION ecommerce; CREATE EXTENSION ecommerce;
	SELECT version, "position" FROM event_store.append('order-1', 0, 'OrderPlaced', '{}');
	SELECT message_bus.create_endpoint('inside');
	SELECT message_bus.send('inside', 'T', '{}')};
my $expected = 2;
for my $way ("BEGIN; $anew; ROLLBACK", "BEGIN; SAVEPOINT s; $anew; ROLLBACK TO s; COMMIT",
	"BEGIN; $anew; SELECT 1/0; COMMIT")
{
	my $there = $node->background_psql('shop', on_error_stop => 0);
	$there->query('SELECT event_store.high_water_mark()');
	$node->psql('shop', $way, on_error_stop => 0);
	$expected++;
	is( $there->query(q{SELECT "position" FROM event_store.append('order-1', -1, 'OrderPlaced',
			'{}')}),
		$expected, 'dropped, made anew and undone: positions go on');
	is($there->query('SELECT count(*) FROM event_store.read_all()'), $expected, 'and all is read');
	is($there->query(q{SELECT count(*) FROM message_bus.endpoints}), '0', 'no endpoint is left');
	$there->quit;
	has_worker('shop', '1', 'the worker is there');
	ok($node->poll_query_until('shop', "SELECT event_store.published_mark() = $expected"),
		'and goes on');
}

# A worker that finds the extension there, and then has to wait for its end.
my $dropping = $node->background_psql('shop', on_error_stop => 1);
$dropping->query_safe('SET event_store.allow_drop = on; BEGIN; DROP EXTENSION ecommerce');
$node->reload;
ok($node->poll_query_until('shop', q{SELECT count(*) = 1 FROM pg_locks l
		JOIN pg_stat_activity a USING (pid)
		WHERE NOT l.granted AND a.backend_type = 'ecommerce worker'}),
	'the worker waits for a DROP EXTENSION');
$dropping->query_safe('COMMIT');
$dropping->quit;
has_worker('shop', '0', 'and leaves with the extension');
$node->safe_psql('shop', 'CREATE EXTENSION ecommerce');
is( $node->safe_psql('shop', q{
		SELECT version, "position" FROM event_store.append('order-1', 0, 'OrderPlaced', '{}');
		SELECT count(*) FROM event_store.read_all();}),
	"1|1\n1", 'a new extension starts at position 1 and is read from there');
has_worker('shop', '1', 'and has a worker');
ok( $node->poll_query_until('shop', 'SELECT event_store.published_mark() = 1'),
	'which works for the new extension');

# DROP EXTENSION leaves no worker behind that would hold anything.
$node->safe_psql('postgres', 'CREATE DATABASE gone');
$node->safe_psql('gone', 'CREATE EXTENSION ecommerce');
has_worker('gone', '1', 'a worker in a second database');
$node->safe_psql('gone', 'DROP EXTENSION ecommerce');
$node->safe_psql('gone', 'SELECT pg_notify(\'nobody\', \'\')');

# DROP, RENAME and copying of a database with a worker
$node->safe_psql('postgres', 'DROP DATABASE gone');
is($node->safe_psql('postgres', workers('gone')), '0', 'DROP DATABASE under a worker');
$node->safe_psql('postgres', 'ALTER DATABASE shop RENAME TO store');
has_worker('store', '1', 'ALTER DATABASE RENAME under a worker, which comes back');
$node->safe_psql('postgres', 'CREATE DATABASE branch TEMPLATE store');
has_worker('branch', '1', 'CREATE DATABASE TEMPLATE under a worker: the copy gets one');
has_worker('store', '1', 'and the original has its own again');
is( $node->safe_psql('branch', q{SELECT version FROM event_store.append('order-1', 1,
	'OrderPlaced', '{}')}),
	'2', 'the copy works');
is($node->safe_psql('store', q{SELECT event_store.stream_version('order-1')}), '1', 'on its own');

# Who appends in one database holds nothing back in another.
my $appender = $node->background_psql('branch');
$appender->query_safe(q{BEGIN; SELECT event_store.append('order-2', 0, 'OrderPlaced', '{}')});
my $held = q{SELECT event_store.high_water_mark() < event_store.position_counter(),
	event_store.high_water_mark('order') < event_store.position_counter(),
	(SELECT count(*) FROM event_store.appenders)};
is($node->safe_psql('branch', $held), 't|t|1', 'an open append holds back readers of its database');
$node->safe_psql('store', q{SELECT event_store.append('order-2', 0, 'OrderPlaced', '{}')});
is($node->safe_psql('store', $held), 'f|f|0', 'and of no other');
$appender->query_safe('ROLLBACK');
$appender->quit;

# A refused DROP DATABASE brings the worker back.
my $session = $node->background_psql('branch');
isnt(sqlstate_of('postgres', 'DROP DATABASE branch'), 'none: ',
	'DROP DATABASE while somebody is connected is refused');
$session->quit;
has_worker('branch', '1', 'and the worker comes back');
$node->safe_psql('postgres', 'DROP DATABASE branch');

# Nor does a command that is left prepared, and then undone.
$node->safe_psql('postgres', q{BEGIN; ALTER DATABASE store RENAME TO depot;
	PREPARE TRANSACTION 'rename'});
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'rename'});
has_worker('store', '1', 'after a RENAME that was prepared and undone there is a worker');

# Databases without the extension take up no room in its shared memory, which has 64 places:
# neither who creates another extension there nor the workers that look for ours.
my @crowd = map { "crowd_$_" } 1 .. 65;
my $launcher = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecommerce launcher'};
my $launching = $node->safe_psql('postgres', $launcher);
# All of them at once, and not those that there are whenever there is one more.
kill 'STOP', $launching;
for my $database (@crowd)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'DROP EXTENSION plpgsql; CREATE EXTENSION plpgsql');
}
kill 'CONT', $launching;
ok(have_looked($node->safe_psql('postgres', q{SELECT string_agg(oid::text, ' ') FROM pg_database
	WHERE datname ~ '^crowd_'})), 'a worker has looked into each of 65 databases, and has ended');
$node->safe_psql('postgres', 'CREATE DATABASE late');
$node->safe_psql('late', 'CREATE EXTENSION ecommerce');
is($node->safe_psql('late', q{SELECT version FROM event_store.append('order-1', 0,
	'OrderPlaced', '{}')}),
	'1', 'one more can have the extension');

# Nor do two that are refused in one transaction leave a database without its worker.
$node->safe_psql('postgres', qq{DO \$\$
	DECLARE
		name text;
	BEGIN
		FOREACH name IN ARRAY '{store,late}'::text[] LOOP
			BEGIN
				EXECUTE 'DROP DATABASE ' || name;
			EXCEPTION WHEN active_sql_transaction THEN NULL;
			END;
		END LOOP;
	END \$\$});
has_worker($_, '1', "after refusals in one transaction $_ has its worker") for 'store', 'late';

# Who does not own a database does not send its worker away either.
my $before = $node->safe_psql('postgres', workers('store') =~ s/count\(\*\)/pid/r);
$node->safe_psql('postgres', 'CREATE ROLE stranger');
is(sqlstate_of('postgres', 'SET ROLE stranger; DROP DATABASE store'), '42501',
	'a stranger cannot drop a database');
is($node->safe_psql('postgres', workers('store') =~ s/count\(\*\)/pid/r), $before,
	'nor stop its worker');

# Nothing in the log that should worry anybody.
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal|ecommerce worker.*exited with exit code 1/,
	'the log is quiet');
is($node->safe_psql('store', 'SELECT * FROM event_store.verify()'), '', 'verify finds nothing');

# A worker that is ended before it could begin anew, as it was told to, comes back all the
# same; so does one that a launcher before this one has started. Nobody commits meanwhile.
my $worker_of_store = workers('store') =~ s/count\(\*\)/pid/r;
my $worker = $node->safe_psql('postgres', $worker_of_store);
kill 'STOP', $worker;
$node->safe_psql('postgres', q{ALTER DATABASE store SET work_mem = '5MB'});
kill 'TERM', $worker;
kill 'CONT', $worker;
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($worker_of_store) w (pid)
	WHERE pid <> $worker"), 'ended while it was to begin anew, a worker comes back');
# Nor does one go on by the settings before that has read them and not entered itself yet, as who
# is held up here.
my $holder = $node->background_psql('store');
$holder->query_safe(q{SELECT pg_advisory_lock(hashtext('worker_connected')::bigint)});
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM ($worker_of_store) w (pid)");
my $late = q{SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted};
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($late) l"),
	'a worker is about to start');
$late = $node->safe_psql('postgres', $late);
$node->safe_psql('postgres', q{BEGIN; ALTER DATABASE store SET work_mem = '6MB';
	ALTER DATABASE postgres SET work_mem = '6MB'; COMMIT});
$holder->quit;
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($worker_of_store) w (pid)
	WHERE pid <> $late"), 'whose database is given a setting: another one starts');
my $first = $node->safe_psql('postgres', $launcher);
$worker = $node->safe_psql('postgres', $worker_of_store);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($first, 180000)");
ok($node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM ($launcher) l WHERE pid <> $first"),
	'another launcher');
is($node->safe_psql('postgres', $worker_of_store), $worker, 'which leaves workers where they are');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker, 180000)");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($worker_of_store) w (pid)
	WHERE pid <> $worker"), 'the worker of the launcher before has a successor');

# A database that lets the worker in no more: told once where people look, and it comes
# back when it may. In a database that only some may enter, CREATE EXTENSION lets it in.
$node->safe_psql('postgres',
	'CREATE DATABASE closed; REVOKE CONNECT ON DATABASE closed FROM PUBLIC');
$node->safe_psql('closed', 'CREATE EXTENSION ecommerce');
has_worker('closed', '1', 'a worker where PUBLIC may not connect');
for my $way (
	[ 'REVOKE CONNECT ON DATABASE closed FROM PUBLIC, ecommerce_worker',
		'GRANT CONNECT ON DATABASE closed TO PUBLIC' ],
	[ 'ALTER ROLE ecommerce_worker NOLOGIN', 'ALTER ROLE ecommerce_worker LOGIN' ],
	[ 'ALTER DATABASE closed ALLOW_CONNECTIONS false',
		'ALTER DATABASE closed ALLOW_CONNECTIONS true' ])
{
	my ($shut, $open) = @$way;
	my $from = -s $node->logfile;
	my $inside = $node->background_psql('closed');
	my $told = qr/ecommerce worker cannot connect to database "closed"/;

	$node->safe_psql('postgres', $shut);
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 180000) FROM pg_stat_activity
		WHERE backend_type = 'ecommerce worker' AND datname = 'closed'});
	ok($node->wait_for_log($told, $from), "$shut: told");
	my $hint = $inside->query_safe(q{SELECT substring(last_error FROM 'type (.*)')
		FROM ecommerce.units WHERE kind = 'worker'});
	# Whoever commits asks for a worker, and is not answered each time.
	$inside->query_safe(q{SELECT event_store.append('closed-1', -1, 'A', '{}')}) for 1 .. 3;
	$inside->quit;
	is(scalar(() = slurp_file($node->logfile, $from) =~ /$told/g), 1, 'once');
	$node->safe_psql('postgres', $hint || $open);
	has_worker('closed', '1', "$hint: it is back");
	is($node->safe_psql('closed', 'SELECT count(*) FROM ecommerce.units'), '0', 'and all is well');
	$node->safe_psql('postgres', $open);
}

done_testing();
