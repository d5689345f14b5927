# Transitions are neither lost nor made twice when worker and server are killed amid
# hundreds of sagas, with one process for the sagas and with several; nor when all that
# run are migrated meanwhile.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SagaStress;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
saga.log_transitions = off
restart_after_crash = on
EOT
$node->start;
my $stress = SagaStress->new($node);
my $killed = 0;

for my $round (1 .. 4)
{
	$node->safe_psql('postgres',
		'ALTER DATABASE postgres SET saga.workers = ' . ($round > 2 ? 2 : 1));
	die 'it does not get under way' unless $stress->get_under_way;
	if ($round == 3)
	{
		cmp_ok($stress->migrate, '>', 0, 'they go on with another definition while they run');
	}
	if ($round % 2)
	{
		$killed += $stress->kill_worker;
	}
	else
	{
		$stress->kill_server;
	}
}
ok($stress->complete, 'every saga ends');
is($killed, 2, 'the worker was killed amid its work');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM started'),
	'>', 200, 'there were hundreds');
unlike(slurp_file($node->logfile), qr/cannot connect to database/,
	'who ends soon after a start was not refused');
is($stress->complaints, '', 'each made its six transitions, each command was sent once');
$node->stop;
done_testing();
