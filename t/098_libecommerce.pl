# libecommerce as others find it: a program made outside of this tree, the one in
# docs/from-your-language.md, of the installed header, library and pkg-config file alone.
# Killed again and again, with the server once, it loses and doubles nothing; it goes through
# a pooler; what the library exports is what its header says.
use strict;
use warnings FATAL => 'all';

use Clients;
use Cwd qw(abs_path);
use FindBin;
use IPC::Run qw(run start);
use PostgreSQL::Test::Utils;
use Test::More;

use constant { CHARGES => 400 };

chomp(my $libdir = `pg_config --libdir`);
chomp(my $includedir = `pg_config --includedir`);
my $library = abs_path("$libdir/libecommerce.so");
my $away = PostgreSQL::Test::Utils::tempdir;
$ENV{PKG_CONFIG_PATH} = "$libdir/pkgconfig";
$ENV{LD_LIBRARY_PATH} = $libdir;

sub output_of
{
	my ($out, $err) = run_command(\@_);
	return $err eq '' ? $out : diag($err) && '';
}

# What the library is.
like(output_of('readelf', '-d', $library), qr/SONAME\) .*\[libecommerce\.so\.1\]/, 'its soname');
ok(!-l $includedir, 'its header went into the private copy, not among the system\'s');
my $text = slurp_file("$includedir/ecommerce.h");
my %declared = map { $_ => 1 } $text =~ /\b(ecommerce_\w+)\(/g;
my %exported = map { /\b(\w+)\@\@ECOMMERCE_1$/ ? ($1 => 1) : () }
  split /\n/, output_of('nm', '-D', '--defined-only', $library);
is(join(' ', sort keys %exported), join(' ', sort keys %declared),
	'it exports what its header declares');
is( join(' ', grep { !/\@\@ECOMMERCE_1$| A ECOMMERCE_1$/ }
		split /\n/, output_of('nm', '-D', '--defined-only', $library)),
	'', 'and nothing else');
is(output_of('pkg-config', '--modversion', 'libecommerce'),
	$text && slurp_file("$FindBin::RealBin/../ecommerce.control") =~ /^default_version = '(.*)'/m
	? $1 : '', 'pkg-config knows its version');

# A program in a directory of its own. What the library was built with here, its users need too.
my @flags = split ' ', output_of(qw(pkg-config --cflags --libs libecommerce));
my @sanitizers = output_of('readelf', '-d', $library) =~ /libasan/
  ? ('-fsanitize=address,undefined') : ();

sub compile
{
	my ($program, $source) = @_;
	append_to_file("$away/$program.c", $source);
	my ($out, $err) = run_command([ 'gcc', '-std=c99', '-D_GNU_SOURCE', qw(-Wall -Wextra -Werror
		-pedantic), @sanitizers, "$away/$program.c", '-o', "$away/$program", @flags ]);
	is($err, '', "$program compiles");
	return;
}

my ($chapter) = slurp_file("$FindBin::RealBin/../docs/from-your-language.md") =~
  /^## C\n(.*?)^## /ms;
my ($statements) = $chapter =~ /^```sql\n(.*?)^```/ms;
my ($program) = $chapter =~ /^```c\n(.*?)^```/ms;
compile('till', $program);
compile('busconsume', slurp_file("$FindBin::RealBin/../services/demo/busconsume.c"));
like(output_of("$away/busconsume", '--version'), qr/^busconsume \(ecommerce\) \d/,
	'busconsume runs with it');

my $clients = Clients->new('libecommerce');
my $node = $clients->{node};
# The same functions, and a table that counts what takes effect.
$node->safe_psql('test', $statements . q{
	CREATE TABLE till.effect (kind text, id uuid);
	CREATE FUNCTION till.note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO till.effect SELECT TG_ARGV[0], new.id;
		RETURN new;
	END $$;
	CREATE TRIGGER handled BEFORE INSERT ON till.charge
		FOR EACH ROW EXECUTE FUNCTION till.note('handled');
	CREATE TRIGGER settled AFTER UPDATE ON till.charge FOR EACH ROW
		WHEN (old.outcome IS NULL AND new.outcome IS NOT NULL)
		EXECUTE FUNCTION till.note('settled');
	SELECT message_bus.create_endpoint('told'), message_bus.subscribe('told', 'CardCharged');});

my @running;
my $said = '';

sub launch
{
	local %ENV = (%ENV, $clients->environment('test'));
	push @running, start [ "$away/till" ], '>>', \$said, '2>>', "$away/errors";
	return;
}

sub count
{
	my ($kind) = @_;
	return $node->safe_psql('test', "SELECT count(*) FROM till.effect WHERE kind = '$kind'");
}

sub order
{
	$node->safe_psql('test', sprintf q{SELECT message_bus.send('till', 'ChargeCard',
			jsonb_build_object('key', gen_random_uuid(), 'cents', n), partition_key => n::text)
		FROM generate_series(1, %d) n}, $_[0]);
	return;
}

order(CHARGES);
launch() for 1 .. 2;
for my $round (1 .. 4)
{
	my $goal = $round * CHARGES / 8;

	$clients->until("$goal are charged", sub { count('settled') >= $goal });
	if ($round == 2)
	{
		$clients->crash;
		next;
	}
	$running[0]->signal('KILL');
	(shift @running)->finish;
	launch();
}
$clients->until('all are charged', sub { count('settled') >= CHARGES });
is($node->safe_psql('test', q{SELECT kind || ' ' || count(*) || ' ' || count(DISTINCT id)
		FROM till.effect GROUP BY kind ORDER BY 1}),
	join("\n", map { "$_ " . CHARGES . ' ' . CHARGES } qw(handled settled)),
	'killed, with the server once: each message is handled once, each charge settled once');
is($node->safe_psql('test', q{SELECT depth FROM message_bus.endpoints WHERE name = 'told'}),
	CHARGES, 'and told once');
is($node->safe_psql('test', 'SELECT count(*) FROM message_bus.dead_letters'), 0,
	'no message is dead');

sub stop
{
	for my $program (splice @running)
	{
		$program->signal('TERM');
		$program->finish;
		is($program->full_result(0), 0, 'a program ends well when it is asked to') or
		  diag(slurp_file("$away/errors"));
	}
	return;
}

stop();
like($said, qr/^[0-9a-f-]{36} \{.*"cents": 1\b.*\}$/m, 'it was given the request');

# Through a pooler that gives each transaction another backend.
$clients->pool(3);
launch() for 1 .. 2;
order(50);
$clients->until('all are charged through the pooler', sub { count('settled') >= CHARGES + 50 });
is(count('settled'), CHARGES + 50, 'each once through the pooler');
stop();
$clients->unpool;
$node->stop;
done_testing();
