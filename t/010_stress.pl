# Order without holes, library preloaded: many writers that pause, roll back, use
# savepoints and lose their backends, readers and consumers of every kind, long
# transactions beside them; then everybody has seen exactly what was committed.
use strict;
use warnings;

use EventStress;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
log_statement = none
fsync = on
EOT
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
$node->safe_psql('postgres', 'CREATE DATABASE other');

# Held open to the end: neither has appended, so neither may hold back anybody.
my @bystanders;
for my $database ('other', 'postgres')
{
	my $session = $node->background_psql($database);
	$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TABLE bystander ()');
	push @bystanders, $session;
}

my $stress = EventStress->new($node);
$node->safe_psql('postgres', q{
	SELECT event_store.create_subscription('whole');
	SELECT event_store.create_subscription('divided', partitions => 5);
	SELECT event_store.create_subscription('one_category', category => 'c1')});
$stress->start_reader('all');
$stress->start_reader('all_polled', kind => 'poll');
$stress->start_reader('all_by_mark', kind => 'mark');
$stress->start_reader('c1', category => 'c1');
$stress->start_reader('c2_by_mark', category => 'c2', kind => 'mark');
$stress->start_consumers('whole', 1);
$stress->start_consumers('divided', 3);
$stress->start_consumers('one_category', 1);

$stress->start_writers(clients => 20, transactions => 4900,
	options => { synchronous_commit => 'off' });
$stress->finish_writers(kill => 1);
$stress->start_writers(clients => 20, transactions => 700);
$stress->finish_writers;

cmp_ok($stress->{commits}, '>=', 100_000, 'at least 100 000 commits with events');
is($stress->finish_readers, '', "$stress->{commits} commits: all saw exactly what was committed");
cmp_ok($stress->{victims}, '>', 10, "backends were terminated in between");
is($node->safe_psql('postgres', 'SELECT * FROM event_store.verify()'), '', 'verify finds nothing');
is( $node->safe_psql('postgres',
	'SELECT event_store.high_water_mark() = last_value FROM event_store.position_seq'),
	't', 'transactions that have not appended hold nothing back');
$_->quit for @bystanders;
$node->stop;
done_testing();
