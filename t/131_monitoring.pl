# What docs/monitoring has works on what ecommerce.metrics() gives: promtool reads the metrics,
# the alerts and their tests, and every query of the dashboard; each asks for metrics that there
# are. And the statements in docs/operations.md run, and name what exists.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run qw(run);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $docs = "$FindBin::RealBin/../docs";
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
$node->safe_psql('postgres', q{
	SELECT message_bus.create_endpoint('billing', breaker => 'default');
	SELECT message_bus.send('billing', 'SendInvoice', '{}');
	SELECT message_bus.fail(delivery_id, 'away', 'no') FROM message_bus.receive('billing');
	SELECT event_store.create_subscription('all'), event_store.append('a-1', 0, 'A', '{}');
	CREATE FUNCTION tally(event event_store.event) RETURNS void LANGUAGE sql AS '';
	SELECT event_store.create_projection('tally', 'tally(event_store.event)');
	SELECT event_store.create_projection('far', 'tally(event_store.event)', source => 'shop'),
		message_bus.create_endpoint('out', forward_to => 'rabbit'),
		message_bus.create_link('from-shop', 'shop', 'out'),
		message_bus.create_bridge('rabbit', 'raw', '{"endpoint": "out", "queue": "in"}'),
		event_store.create_sink('analytics', 'kafka');
	SELECT saga.define('s', '{"initial": "Waiting", "events": {"Asked": {}},
		"start": {"Asked": {"goto": "Waiting"}}, "states": {
			"Waiting": {"default": "ignore", "timer": "none", "on": {"Asked": {"goto": "Done"}}},
			"Done": {"kind": "final", "default": "ignore"}}}');
});

sub promtool
{
	my ($input, @arguments) = @_;
	my ($out, $err) = ('', '');

	run [ 'promtool', @arguments ], '<', \$input, '>', \$out, '2>', \$err;
	return ($? == 0, "$out$err");
}

# As an exporter writes them.
my $exposition = $node->safe_psql('postgres', q{
	SELECT string_agg(m.head || m.name || m.labels || ' ' || m.value, E'\n'
		ORDER BY m.name, m.labels)
	FROM (SELECT name, value,
			CASE row_number() OVER (PARTITION BY name ORDER BY labels) WHEN 1
				THEN format(E'# HELP %1$s %2$s\n# TYPE %1$s %3$s\n', name, help, kind)
				ELSE '' END AS head,
			(SELECT coalesce('{' || string_agg(format('%s=%s', l.key, to_json(l.value)), ',')
				|| '}', '') FROM jsonb_each_text(labels) l) AS labels
		FROM ecommerce.metrics()) m}) . "\n";
my ($ok, $said) = promtool($exposition, qw(check metrics));
ok($ok, 'promtool takes the metrics') or diag($said);
my %given = map { $_ => 1 } $exposition =~ /^# TYPE (\w+)/mg;
# What there is only while something is wrong.
$given{ecommerce_saga_stuck} = 1;

($ok, $said) = promtool('', 'check', 'rules', "$docs/monitoring/alerts.yml");
ok($ok, 'and the alerts') or diag($said);
($ok, $said) = promtool('', 'test', 'rules', "$docs/monitoring/alerts_test.yml");
ok($ok, 'which fire when they shall') or diag($said);

my $dashboard = decode_json(slurp_file("$docs/monitoring/dashboard.json"));
my @queries = map { map { $_->{expr} } @{ $_->{targets} } } @{ $dashboard->{panels} };
cmp_ok(scalar @queries, '>', 20, 'the dashboard asks');
my $rules = "groups:\n  - name: dashboard\n    rules:\n";
for my $i (0 .. $#queries)
{
	(my $query = $queries[$i]) =~ s/\$__rate_interval/1m/g;
	$query =~ s/\$job/.*/g;
	$rules .= "      - record: query_$i\n        expr: '$query'\n";
}
my $file = PostgreSQL::Test::Utils::tempdir() . '/dashboard.yml';
append_to_file($file, $rules);
($ok, $said) = promtool('', 'check', 'rules', $file);
ok($ok, 'what Prometheus understands') or diag($said);
my $asked = join ' ', @queries, slurp_file("$docs/monitoring/alerts.yml");
my %wanted = map { $_ => 1 } $asked =~ /\b(ecommerce_[a-z_]+)\b/g;
is(join(' ', grep { !$given{$_} } sort keys %wanted), '', 'all that is asked for is given');
is(join(' ', grep { !$wanted{$_} } sort keys %given), '', 'all that is given is shown');

# Whoever is rung at night finds each kind of problem, with what has happened.
my $kinds = $node->safe_psql('postgres', q{SELECT obj_description('ecommerce.problems'::regclass)});
my ($found) = slurp_file("$docs/operations.md") =~ /^## At night\n(.*?)^## Metrics/ms;
$kinds =~ s/\([^()]*\)//g;
my @kinds = map { split /\s*,\s*|\.$/ } $kinds =~ /\b(?:kind|itself): (.*?\.)(?: |$)/g;
cmp_ok(scalar @kinds, '>', 40, 'kinds of problems');
is(join(' ', grep { $found !~ /`$_`/ } map { s/\W//gr } @kinds), '', 'each is in operations.md');

for my $name ('operations.md', 'monitoring/README.md')
{
	my $text = slurp_file("$docs/$name");

	for my $block ($text =~ /^```sql\n(.*?)^```$/msg)
	{
		my ($first) = $block =~ /^(.*)$/m;
		my ($code, $out, $err) = $node->psql('postgres', $block, on_error_stop => 1);
		is($code, 0, "$name: $first") or diag($err);
	}
	my %named = map { $_ => 1 }
	  $text =~ /\b((?:ecommerce|event_store|message_bus|saga)\.[a-z_]+)\b/g;
	my $missing = $node->safe_psql('postgres', sprintf(q{
		SELECT n FROM unnest('{%s}'::text[]) n
		WHERE NOT EXISTS (SELECT FROM pg_proc
				WHERE pronamespace::regnamespace || '.' || proname = n)
			AND to_regclass(n) IS NULL AND to_regtype(n) IS NULL
			AND NOT EXISTS (SELECT FROM pg_settings s WHERE s.name = n)},
		join(',', sort keys %named)));
	is($missing, '', "$name names what there is");
}
$node->stop;
done_testing();
