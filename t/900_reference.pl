# docs/reference.md says what the comments in the database say.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('reference');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

my ($generated, $errors);
$node->run_log(
	[
		'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'),
		'-f', 'docs/reference.sql'
	],
	'>', \$generated, '2>', \$errors);
is($errors, '', 'the reference can be generated');
is($generated, slurp_file('docs/reference.md'),
	'docs/reference.md is up to date; if not, run make docs');
unlike($generated, qr/\n```\n\n\n/, 'every object has a comment');

done_testing();
