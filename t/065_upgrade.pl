# An older SQL part under this library: functions and worker say what to do, ALTER
# EXTENSION UPDATE does it, and the result is what a fresh installation gives. The
# older version is made here, from the install script without one view; so is a
# newer one, under which functions and worker do not run either.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('upgrade');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;

my $version = $node->safe_psql('postgres',
	q{SELECT default_version FROM pg_available_extensions WHERE name = 'ecommerce'});
my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
my $script = slurp_file("$sharedir/extension/ecommerce--$version.sql");
my $view = '';
$view .= $1 while $script =~ s/(^(?:CREATE VIEW|COMMENT ON VIEW) event_store\.streams\b.*?;\n)//ms;
like($view, qr/^CREATE VIEW event_store\.streams.*COMMENT ON VIEW/s,
	'the view that the older version lacks');
ok($script =~ s/\tevent_store\.streams,\n//, 'its privileges');
my $old = "$sharedir/extension/ecommerce--0.9.sql";
my $edge = "$sharedir/extension/ecommerce--0.9--$version.sql";
my $new = "$sharedir/extension/ecommerce--99.sql";
unlink $old, $edge, $new;
append_to_file($old, $script);
append_to_file($new, $script);
append_to_file($edge, "$view\nGRANT SELECT ON event_store.streams TO ecommerce_reader;\n");

sub failure_of
{
	my ($sql, $database) = @_;
	my ($code, $out, $err) = $node->psql($database // 'old', $sql, extra_params => [ '-v',
		'VERBOSITY=verbose' ]);
	return $err;
}

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION ecommerce');
$node->safe_psql('postgres', 'CREATE DATABASE old');
my $offset = -s $node->logfile;
$node->safe_psql('old', q{CREATE EXTENSION ecommerce VERSION '0.9'});
like(failure_of(q{SELECT event_store.append('order-1', 0, 'OrderPlaced', '{}')}),
	qr/55000: extension "ecommerce" has version 0\.9.*ALTER EXTENSION ecommerce UPDATE/s,
	'functions refuse and say what to do');
$node->wait_for_log(qr/ecommerce worker idles.*\n?.*/, $offset);
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecommerce worker'
			AND datname = 'old'}),
	'1', 'the worker idles');
my $said = () = slurp_file($node->logfile) =~ /ecommerce worker idles/g;
is($said, 1, 'and says so once');

$node->safe_psql('old', 'ALTER EXTENSION ecommerce UPDATE');
is($node->safe_psql('old', q{SELECT version FROM event_store.append('order-1', 0, 'OrderPlaced',
	'{}')}),
	'1', 'after ALTER EXTENSION UPDATE functions work');
ok($node->poll_query_until('old', 'SELECT event_store.published_mark() = 1'),
	'and so does the worker');

# Everything that belongs to the extension, with definitions, privileges and comments.
my $catalogue = q{
	SELECT pg_describe_object(d.classid, d.objid, 0) AS object,
		   coalesce(obj_description(d.objid, (SELECT relname FROM pg_class
		   	WHERE oid = d.classid)), ''),
		   coalesce((SELECT pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') FROM pg_proc p
					 WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid
					 	AND p.prokind IN ('f', 'p')), ''),
		   coalesce((SELECT c.relkind::text || coalesce(c.relacl::text, '') ||
					 coalesce((SELECT pg_get_viewdef(c.oid) WHERE c.relkind = 'v'), '') ||
					 coalesce((SELECT string_agg(a.attname || format_type(a.atttypid,
					 	a.atttypmod), ',' ORDER BY a.attnum)
							   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0), '')
					 FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid),
					 	'')
	FROM pg_depend d
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'ecommerce')
	ORDER BY 1};
my $fresh = $node->safe_psql('fresh', $catalogue);
cmp_ok(length $fresh, '>', 10000, 'there is something to compare');
is($node->safe_psql('old', $catalogue), $fresh, 'the updated extension is what a fresh one is');

# A newer one, as when the library is put back to an older version.
$node->safe_psql('postgres', 'CREATE DATABASE newer');
$offset = -s $node->logfile;
$node->safe_psql('newer', q{CREATE EXTENSION ecommerce VERSION '99'});
like(failure_of(q{SELECT event_store.append('order-1', 0, 'OrderPlaced', '{}')}, 'newer'),
	qr/55000: extension "ecommerce" has version 99.*install the library that fits/s,
	'functions refuse a newer SQL part too');
$node->wait_for_log(qr/ecommerce worker idles.*?install the library that fits/s, $offset);
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecommerce worker'
			AND datname = 'newer'}),
	'1', 'the worker says so and idles');

unlink $old, $edge, $new;
done_testing();
