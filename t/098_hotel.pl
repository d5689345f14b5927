# The hotel of examples/, in each language, through a pooler in transaction mode: of three processes
# one is killed, a night is sold once, a refused card frees the night, and what version 1 has
# written is read as version 2.
use strict;
use warnings FATAL => 'all';

use Clients;
use IPC::Run qw(run start);
use PostgreSQL::Test::Utils;
use Test::More;

use constant BOOKINGS => 60;

my $clients = Clients->new('hotel');
my $node = $clients->{node};
my $example = 'examples/hotel';
my $python = Clients::python();

$ENV{PYTHONPATH} = "clients/python:$example/python";
$ENV{PYTHONDONTWRITEBYTECODE} = 1;
$clients->pool(30);

sub runs
{
	my ($what, @command) = @_;
	my $output = '';
	run \@command, '>', \$output, '2>&1';
	is($?, 0, $what) or diag($output);
	chomp $output;
	return $output;
}

# The compiler finds the client beside its own package, as npm install would put it.
sub build_typescript
{
	my $modules = "$example/typescript/node_modules";
	mkdir $modules;
	symlink '../../../../clients/node', "$modules/ecommerce-client" or die "cannot link: $!\n"
	  unless -l "$modules/ecommerce-client";
	my $types = '';
	run [ 'node', 'clients/node/bin/ecommerce-types.js' ], '>', \$types;
	is($?, 0, 'typescript: the contracts are written as types');
	open my $file, '>', "$example/typescript/contracts.d.ts" or die "cannot write: $!\n";
	print $file $types;
	close $file;
	runs('typescript: it compiles', 'node', 'clients/node/node_modules/typescript/bin/tsc', '-p',
		"$example/typescript");
	runs('typescript: the decisions', 'node', '--test', "$example/typescript/build/");
	return;
}

my %languages = (
	typescript => [ \&build_typescript, 'node', "$example/typescript/build/hotel.js" ],
	python => [ sub { runs('python: the decisions', $python, '-m', 'unittest', 'test_room') },
		$python, "$example/python/hotel.py" ],
);
for my $language (sort keys %languages)
{
	my ($prepare, @hotel) = @{ $languages{$language} };
	my $database = "hotel_$language";
	my $sql = sub { $node->safe_psql($database, $_[0]) };

	$clients->create($database);
	local %ENV = (%ENV, $clients->environment($database));
	$sql->(slurp_file("$example/schema.sql"));
	# What the first version has left.
	$sql->(q{SELECT event_store.append('room-1', 0, 'RoomOpened', '{"beds": 2}'),
		event_store.append('room-1', 1, 'NightHeld', '{"booking":
			"00000000-0000-4000-8000-000000000001", "night": "2027-01-01", "guest": "old"}')});
	$sql->(slurp_file("$example/version2.sql"));
	$prepare->();
	runs("$language: $_->[0]", @hotel, @$_)
	  for [ 'install' ], [ 'install' ], [ 'open', '2', '1' ];

	my $log = "$PostgreSQL::Test::Utils::log_path/$language";
	my @serving = map { start [ @hotel, 'serve' ], '>', "$log.$_", '2>&1' } 1 .. 3;
	my $rival = runs("$language: a booking", @hotel, 'book', '2', '2027-02-01', 'ann', 'visa');
	my $thief = runs("$language: with a stolen card", @hotel, 'book', '2', '2027-03-01', 'eve',
		'stolen');
	# Each night is wanted by two; 2027-02-01 is wanted by ann and five others.
	$sql->(sprintf q{SELECT message_bus.publish('BookingRequested', jsonb_build_object('booking',
			gen_random_uuid(), 'room', '1', 'night', date '2027-05-01' + n %% %d, 'guest',
			'guest ' || n, 'card', 'visa')) FROM generate_series(1, %d) n;
		SELECT message_bus.publish('BookingRequested', jsonb_build_object('booking',
			gen_random_uuid(), 'room', '2', 'night', '2027-02-01', 'guest', 'rival ' || n,
			'card', 'visa')) FROM generate_series(1, 5) n}, BOOKINGS / 2, BOOKINGS);
	my $states = sub { $sql->('SELECT count(*) FROM saga.instances WHERE current_state IN '
		. "('Booked', 'Refused', 'Cancelled')") };
	$clients->until("$language: a third is decided", sub { $states->() > BOOKINGS / 3 });
	$serving[0]->kill_kill;
	$clients->until("$language: all is decided", sub { $states->() == BOOKINGS + 7 });
	is($sql->(q{SELECT string_agg(current_state || ' ' || n, ', ' ORDER BY current_state) FROM
		(SELECT current_state, count(*) n FROM saga.instances GROUP BY 1) s}),
		'Booked 31, Cancelled 1, Refused 35', "$language: each night is sold once");
	is($sql->("SELECT current_state FROM saga.instances WHERE correlation_id = '$thief'"),
		'Cancelled', "$language: a stolen card books nothing");
	is($sql->(q{SELECT count(DISTINCT (stream, data ->> 'night')) || ' ' ||
		sum(CASE event_type WHEN 'NightHeld' THEN 1 ELSE -1 END)
		FROM event_store.read_all(max_count => 100000) WHERE event_type ~ 'Night'}),
		'33 32', "$language: and its night is free again");
	$clients->until("$language: the read models have caught up", sub {
		$sql->('SELECT count(*) FROM hotel.occupancy') == 32
		  && $sql->('SELECT sum(bookings) FROM hotel.demand') == 33;
	});
	is($sql->(q{SELECT guest FROM hotel.occupancy WHERE night = '2027-01-01'}), 'old',
		"$language: what version 1 wrote is read as version 2");
	is($sql->(q{SELECT count(*) FROM hotel.occupancy WHERE night = '2027-03-01'}), '0',
		"$language: the read model has forgotten what was undone");
	is($sql->('SELECT count(*) FROM message_bus.dead_letters'), '0',
		"$language: no message has failed");
	$_->signal('TERM') for @serving[ 1, 2 ];
	$_->finish for @serving[ 1, 2 ];
	is(join(' ', map { $_->full_result(0) } @serving[ 1, 2 ]), '0 0', "$language: they end well");
}
$clients->unpool;
$node->stop;
done_testing();
