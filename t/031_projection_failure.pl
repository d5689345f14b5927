# A handler that raises stops its own projection, after 5 retries with back-off over about 10 s,
# in the background worker; appends and other projections go on. Pause, skip, resume.
# What can be seen in between the handler looks at itself, and keeps in sequences, which no
# rollback turns back: a test that looks from outside may come too late.
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
	-- Fails at this position until it has been tried so often.
	CREATE TABLE bad (at bigint, tries bigint);
	CREATE SEQUENCE tries;
	CREATE SEQUENCE seen;
	CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO public.got VALUES ('good', (event).position) $$;
	CREATE FUNCTION note_or_fail(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		try bigint;
	BEGIN
		INSERT INTO public.got VALUES ('bad', event.position);
		IF EXISTS (SELECT FROM public.bad WHERE at = event.position) THEN
			try := nextval('public.tries');
			-- Before each retry the failure shows; the first wait is 320 ms, each twice as long.
			PERFORM nextval('public.seen')
			FROM event_store.projections p JOIN event_store.projection_progress g USING (name)
			WHERE p.name = 'bad' AND p.state = 'retrying' AND p.error_position = event.position
				AND p.last_error = format('cannot take %s (SQLSTATE 22000)', event.position)
				AND p.lag_events >= 3 AND g.failures = try - 1
				AND g.retry_at <= clock_timestamp()
				AND g.retry_at - g.updated_at <= interval '320 ms' * 2 ^ (try - 2);
			IF try <= (SELECT tries FROM public.bad WHERE at = event.position) THEN
				RAISE EXCEPTION 'cannot take %', event.position USING ERRCODE = 'data_exception';
			END IF;
		END IF;
	END $$;
	INSERT INTO bad VALUES (3, 1000);
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

$node->safe_psql('postgres', q{SELECT event_store.append('a-2', -1, 'Added', '{}')});
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 6 FROM got WHERE who = 'good'}),
	'the other projection goes on');
state_is('bad', 'failed', 'in the end it stops');
cmp_ok(time - $started, '>', 8, 'not before about 10 s');
is($node->safe_psql('postgres', 'SELECT last_value FROM tries'), '6', 'after 5 retries');
is($node->safe_psql('postgres', 'SELECT last_value FROM seen'), '5',
	'each after its time; until then position, error and lag showed');
is( $node->safe_psql('postgres', q{SELECT error_position, last_error, lag_events
		FROM event_store.projections WHERE name = 'bad'}),
	'3|cannot take 3 (SQLSTATE 22000)|4', 'and they still do');
is($node->safe_psql('postgres', q{SELECT string_agg(at::text, ' ' ORDER BY at) FROM got
	WHERE who = 'bad'}),
	'1 2', 'what came before the event is there, what failed is not');

my $told = qr/LOG:  projection "bad" has failed for good at position 3: cannot take 3/;
is(scalar(() = slurp_file($node->logfile) =~ /$told/g), 1, 'the log says so, once');
is($node->safe_psql('postgres', q{SELECT severity, object FROM ecommerce.problems
		WHERE kind = 'projection_failed'}), 'error|projection bad', 'and ecommerce.problems');

# The worker's log tells nothing new at every turn; the projection stays where it is over a restart.
$node->restart;
state_is('bad', 'failed', 'it stays stopped over a restart');
$node->safe_psql('postgres', q{SELECT event_store.skip_event('bad', 3)});
state_is('bad', 'running', 'skipping the event lets it go on');
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 5 FROM got WHERE who = 'bad'}),
	'with those behind it');

# Repaired while it is retrying, it goes on by itself.
$node->safe_psql(
	'postgres', q{TRUNCATE bad;
	SELECT setval('tries', 1, false);
	INSERT INTO bad SELECT 1 + max(at), 2 FROM got;
	SELECT event_store.append('a-1', -1, 'Added', '{}')});
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM got JOIN bad USING (at) WHERE who = 'bad'}),
	'it goes on without help');
is($node->safe_psql('postgres', 'SELECT last_value FROM tries'), '3', 'after two failures');
state_is('bad', 'running', 'all is well again');
is($node->safe_psql('postgres', 'SELECT failures FROM event_store.projection_progress
	WHERE name = \'bad\''),
	'0', 'and the failures are forgotten');

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

# Without the library preloaded nothing runs by itself, and by hand all the same.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
$node->safe_psql('postgres', q{SELECT event_store.append('a-1', -1, 'Added', '{}')});
is($node->safe_psql('postgres', 'SELECT event_store.run_projections()'), '2',
	'without a worker, called by hand');
is( $node->safe_psql('postgres', q{SELECT name, state, lag_events,
			(SELECT count(*) FROM event_store.stored_event) - count(*) AS missing
		FROM event_store.projections JOIN got ON who = name GROUP BY 1, 2, 3 ORDER BY 1}),
	"bad|running|0|1\ngood|running|0|0", 'both are up to date, but for the event that was skipped');

$node->stop;
done_testing();
