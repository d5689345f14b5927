# A handler that raises stops its own projection, after 5 retries with back-off over about 10 s,
# in the background worker; appends and other projections go on. Pause, skip, resume.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION ecommerce;
	CREATE TABLE got (who text, at bigint);
	CREATE TABLE bad (at bigint);
	CREATE SEQUENCE tries;
	CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO public.got VALUES ('good', (event).position) $$;
	CREATE FUNCTION note_or_fail(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.got VALUES ('bad', event.position);
		IF EXISTS (SELECT FROM public.bad WHERE at = event.position) THEN
			PERFORM nextval('public.tries');
			RAISE EXCEPTION 'cannot take %', event.position USING ERRCODE = 'data_exception';
		END IF;
	END $$;
	INSERT INTO bad VALUES (3);
	SELECT event_store.create_projection('good', 'note(event_store.event)');
	SELECT event_store.create_projection('bad', 'note_or_fail(event_store.event)');
});
my $started = time;
$node->safe_psql('postgres',
	q{SELECT event_store.append('a-1', -1, 'Added', '{}') FROM generate_series(1, 5)});

sub state_is
{
	my ($name, $state, $what) = @_;
	ok( $node->poll_query_until('postgres',
			"SELECT state = '$state' FROM event_store.projections WHERE name = '$name'"),
		$what);
}

state_is('bad', 'retrying', 'a failure shows before the retries are used up');
is( $node->safe_psql('postgres', q{SELECT error_position, last_error, lag_events
		FROM event_store.projections WHERE name = 'bad'}),
	'3|cannot take 3 (SQLSTATE 22000)|3', 'with position, error and lag');
$node->safe_psql('postgres', q{SELECT event_store.append('a-2', -1, 'Added', '{}')});
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 6 FROM got WHERE who = 'good'}),
	'the other projection goes on');
state_is('bad', 'failed', 'in the end it stops');
my $took = time - $started;
cmp_ok($took, '>', 8, 'not before about 10 s');
cmp_ok($took, '<', 40, 'and not much later');
is($node->safe_psql('postgres', 'SELECT last_value FROM tries'), '6', 'after 5 retries');
is($node->safe_psql('postgres', q{SELECT string_agg(at::text, ' ' ORDER BY at) FROM got
	WHERE who = 'bad'}),
	'1 2', 'what came before the event is there, what failed is not');

# The worker's log tells nothing new at every turn; the projection stays where it is over a restart.
$node->restart;
state_is('bad', 'failed', 'it stays stopped over a restart');
$node->safe_psql('postgres', q{SELECT event_store.skip_event('bad', 3)});
state_is('bad', 'running', 'skipping the event lets it go on');
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 5 FROM got WHERE who = 'bad'}),
	'with those behind it');

# Repaired while it is retrying, it goes on by itself.
$node->safe_psql(
	'postgres', q{INSERT INTO bad SELECT 1 + max(at) FROM got;
	SELECT event_store.append('a-1', -1, 'Added', '{}')});
state_is('bad', 'retrying', 'another failure');
$node->safe_psql('postgres', 'DELETE FROM bad');
state_is('bad', 'running', 'repaired, it goes on without help');

# Somebody's lock on the table is no failure of the event.
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE got');
$node->safe_psql('postgres', q{SELECT event_store.append('a-1', -1, 'Added', '{}')});
state_is('bad', 'retrying', 'a lock shows as an error');
like($node->safe_psql('postgres', q{SELECT last_error FROM event_store.projections
	WHERE name = 'bad'}),
	qr/55P03/, 'it is the lock');
is($node->safe_psql('postgres', q{SELECT failures FROM event_store.projection_progress
	WHERE name = 'bad'}),
	'0', 'and does not count');
$locker->query_safe('COMMIT');
$locker->quit;
state_is('bad', 'running', 'then it goes on');

# Pause keeps it from what comes, resume gives it that.
$node->safe_psql(
	'postgres', q{SELECT event_store.pause_projection('bad');
	SELECT event_store.append('a-3', -1, 'Added', '{}')});
ok( $node->poll_query_until('postgres', q{SELECT checkpoint = head FROM event_store.projections
		WHERE name = 'good'}),
	'the other one has it');
is($node->safe_psql('postgres', q{SELECT state, lag_events, lag > '0'
	FROM event_store.projections WHERE name = 'bad'}),
	'paused|1|t', 'the paused one does not');
$node->safe_psql('postgres', q{SELECT event_store.resume_projection('bad')});
ok( $node->poll_query_until('postgres', q{SELECT state = 'running' AND lag_events = 0
		FROM event_store.projections WHERE name = 'bad'}),
	'resumed, it gets it');
is( $node->safe_psql('postgres', q{SELECT count(*) - count(DISTINCT (who, at)) FROM got}),
	'0', 'nothing was done twice');

$node->stop;
done_testing();
