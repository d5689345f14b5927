# Twenty deciders of one stream. Each loads it, decides and saves: those that lock it with
# load(for_update) come one after the other and none of them tries twice; those that do not
# meet each other's versions.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION ecommerce;
	CREATE FUNCTION booked(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT jsonb_build_object('seats', (state ->> 'seats')::int - 1) $$;
	SELECT event_store.create_aggregate('course', '{"seats": 150}');
	SELECT event_store.create_event_handler('course', 'Booked', 'booked(jsonb, event_store.event)');
	-- Books a seat as long as there is one.
	CREATE FUNCTION book(course text, locked boolean) RETURNS boolean LANGUAGE plpgsql AS $$
	DECLARE
		loaded record;
	BEGIN
		SELECT * INTO loaded FROM event_store.load(course, for_update => locked);
		IF coalesce((loaded.state ->> 'seats')::int, 150) <= 0 THEN
			RETURN false;
		END IF;
		PERFORM event_store.save_json(course, loaded.version,
			'[{"event_type": "Booked", "data": {}}]');
		RETURN true;
	END $$});

sub deciders
{
	my ($course, $locked, $isolation) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . '/book.sql';

	append_to_file($script, "BEGIN ISOLATION LEVEL $isolation;\n"
		  . "SELECT book('$course', $locked);\nCOMMIT;\n");
	my ($out, $err) = ('', '');
	my $done = IPC::Run::run(
		[
			'pgbench', '-n', '-c', 20, '-j', 2, '-t', 10,
			'-f', $script, '-h', $node->host, '-p', $node->port, 'postgres'
		],
		'>', \$out, '2>', \$err);
	my $seats = $node->safe_psql('postgres', "SELECT event_store.stream_version('$course')");
	return ($done, $seats, $err);
}

# 200 bookings of 150 seats, also where a snapshot is older than the lock.
for my $isolation ('READ COMMITTED', 'REPEATABLE READ')
{
	my ($course) = map { lc "course-$_" } $isolation =~ /(\w+)/;
	my ($done, $seats, $err) = deciders($course, 'true', $isolation);
	ok($done, "$isolation: no decider that locked failed") or diag($err);
	is($seats, 150, "$isolation: every seat is booked, none twice");
}
my ($done, $seats, $err) = deciders('course-open', 'false', 'READ COMMITTED');
like($err, qr/expected version/, 'without the lock they get into each other\'s way');
ok(!$done && $seats < 150, 'and give up');

is($node->safe_psql('postgres', q{SELECT book('course-new', true)}),
	't', 'a stream without events is locked too');

$node->stop;
done_testing();
