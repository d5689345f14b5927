# A server that preloads the library starts, creates the extension, restarts
# with it, and its log has no error.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
$node->restart;
is( $node->safe_psql(
		'postgres', "SELECT extversion = default_version FROM pg_extension
		JOIN pg_available_extensions ON name = extname WHERE extname = 'ecommerce'"),
	't',
	'the installed version is the available one');

# However long a test has taken, a session that it has opened before is not given up.
my $session = $node->background_psql('postgres');
$session->{timeout}->end_time(time - 1);
is($session->query('SELECT 1'), '1', 'a statement has the time that it may take');
$session->quit;

$node->stop;
# FATAL is also what a connection gets that the shutdown meets.
unlike(slurp_file($node->logfile), qr/ERROR|PANIC/, 'no error in the log');

done_testing();
