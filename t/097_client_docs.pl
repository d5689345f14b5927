# The programs in docs/from-your-language.md run as they stand, each pasted together from the
# blocks of its chapter: the room is taken once, the read model follows, the saga is undone. They
# end well when they are asked to.
use strict;
use warnings FATAL => 'all';

use Clients;
use FindBin;
use IPC::Run qw(run start);
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = Clients->new('docs');
my $node = $clients->{node};
$ENV{PYTHONPATH} = 'clients/python';
$ENV{PYTHONDONTWRITEBYTECODE} = 1;
my $text = slurp_file("$FindBin::RealBin/../docs/from-your-language.md");

# language => file to paste into, and the program that runs it
my %languages = (
	js => [ 'clients/node/pasted.mjs', 'node' ],
	python => [ 'clients/python/pasted.py', Clients::python() ],
);
for my $language (sort keys %languages)
{
	my ($file, @program) = @{ $languages{$language} };
	my @blocks = $text =~ /^```$language\n(.*?)^```/msg;
	my ($output, $database) = ('', "in_$language");

	cmp_ok(scalar @blocks, '>', 4, "$language: there are blocks");
	append_to_file($file, join "\n", @blocks);
	$clients->create($database);
	local %ENV = (%ENV, $clients->environment($database));
	my $running = start [ @program, $file ], '>', \$output, '2>&1';
	my $found = eval {
		$clients->until("$language: the saga is undone, the read model filled", sub {
			$running->pumpable or die "it has ended\n";
			$node->psql($database, q{SELECT 1 / (count(*) = 1)::int FROM saga.instances, occupancy
				WHERE current_state = 'Cancelled' AND guests = 1}) == 0;
		});
		1;
	};
	ok($found, "$language: the saga is undone, the read model filled") or diag($@);
	is($node->safe_psql($database, q{SELECT string_agg(stream || ' ' || event_type, ', '
		ORDER BY stream, version) FROM event_store.read_all()}),
		'room-12 RoomOpened, room-12 RoomBooked, stay-ann CheckedIn', "$language: its events");
	is($node->safe_psql($database, 'SELECT count(*) FROM message_bus.dead_letters'), '0',
		"$language: no message has failed");
	$running->signal('TERM');
	$running->finish;
	is($running->full_result(0), 0, "$language: it ends well");
	like($output, qr/^the room is full$/m, "$language: the second guest is refused");
	like($output, qr/^\{ ?\W?n\W?: \d+ ?\}$/m, "$language: the question is answered")
	  or diag($output);
	unlink $file;
}
my ($statements, $said) = (join("\n", $text =~ /^```sql\n(.*?)^```/msg), '');
$clients->create('in_sql');
run [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('in_sql') ],
  '<', \$statements, '>', \$said, '2>&1';
is($?, 0, 'the statements run') or diag($said);
is($node->safe_psql('in_sql', q{SELECT data FROM event_store.read_stream('bell-1')}),
	'{"room": "12"}', 'and have done what they say');
$node->stop;
done_testing();
