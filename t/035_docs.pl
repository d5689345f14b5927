# The statements in docs/domain-models.md, deploying.md and personal-data.md run as they stand, and
# say what is written below them; the README's tour can be pasted as a whole.
use strict;
use warnings FATAL => 'all';

use Docs;
use IPC::Run qw(run);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

my $text = document('docs/domain-models.md');
my ($out, $err);
is(run_statements($node, 'postgres', $text, 7), 1, 'a result was compared');
is($node->safe_psql('postgres', q{SELECT schema_version, data -> 'authors'
		FROM event_store.read_stream('book-1', 1, 1)}),
	'2|["Kernighan", "Ritchie"]', 'the upcast event');
is( $node->safe_psql('postgres', q{SELECT (event_store.load('book-1', 2)).state ->> 'lent_to',
		state ->> 'lent_to' IS NULL, version FROM event_store.load('book-1')}),
	'Ann|t|3', 'the aggregate');
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 1 AND max(loans) = 1
		FROM library.reader}),
	'the projection');
my ($statement, $message) =
  $text =~ /^    (SELECT event_store\.append\('book-2'.*?;)\n    ERROR:  (.*?)$/ms;
$node->safe_psql('postgres', 'SELECT event_store.unregister_event_type(\'BookBought\', 2)');
(undef, undef, $err) = $node->psql('postgres', $statement);
like($err, qr/ERROR:  \Q$message\E$/m, 'the error');

$node->safe_psql('postgres', 'CREATE DATABASE deploying');
$node->safe_psql('deploying', 'CREATE EXTENSION ecommerce');
is( run_statements($node, 'deploying', document('docs/deploying.md'), 4),
	1, 'deploying: a result was compared');

$node->safe_psql('postgres', 'CREATE DATABASE personal');
$node->safe_psql('personal', 'CREATE EXTENSION ecommerce');
is(run_statements($node, 'personal', document('docs/personal-data.md'), 5),
	10, 'personal data: results were compared');

my ($tour) = document('README.md') =~ /^## A tour in SQL\n(.*?)^## /ms;
my $pasted = join '', $tour =~ /^    (.*\n)/mg;
$node->safe_psql('postgres', 'CREATE DATABASE tour');
$node->safe_psql('tour', 'CREATE EXTENSION ecommerce');
run [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('tour') ],
  '<', \$pasted, '>', \$out, '2>', \$err;
is($err, '', 'the tour in the README can be pasted');
is($node->safe_psql('tour', q{SELECT max(checkpoint) > 0 FROM event_store.subscriptions}), 't',
	'and what it shows has happened');

$node->stop;
done_testing();
