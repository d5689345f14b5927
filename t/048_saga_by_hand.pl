# Sagas without the library preloaded: nobody runs them but saga.run() and saga.fire_due().
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', <<'EOT');
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint('service');
SELECT saga.define('ask', '{"endpoint": "ask", "initial": "Asking",
	"events": {"Wanted": {}, "Answered": {}},
	"start": {"Wanted": {"goto": "Asking", "send": {
		"step": "ask", "endpoint": "service", "type": "Ask",
		"body": {"key": "$.key"}, "compensation": "none",
		"resend": {"timer": "ask", "every": "1 min", "limit": 2}}}},
	"states": {"Asking": {"default": "ignore", "on": {
			"Answered": {"unschedule": "ask", "goto": "Answered"},
			"timer:ask": {"goto": "GivenUp"}}},
		"Answered": {"kind": "final", "default": "ignore"},
		"GivenUp": {"kind": "final", "default": "ignore"}}}');
CREATE FUNCTION tell(message_type text, n int) RETURNS uuid LANGUAGE sql AS $$
	SELECT ecommerce.set_context(md5(n::text)::uuid);
	SELECT message_bus.publish(message_type, '{}');
$$;
EOT

sub says
{
	return $node->safe_psql('postgres', "SELECT $_[0]");
}

is(says(q{count(*) FROM pg_stat_activity WHERE backend_type LIKE 'ecommerce%'}), '0', 'no worker');
says(q{tell('Wanted', 1)});
says(q{tell('Wanted', 2)});
is(says('count(*) FROM saga.instance'), '0', 'nothing happens by itself');
is(says('saga.run()'), '2', 'the messages are handled by hand');
is(says('count(*) FROM message_bus.receive(\'service\', 10)'), '2', 'so the commands are sent');
says(q{tell('Answered', 1)});
is(says('saga.run()'), '1', 'an answer');
is(says(q{saga.fire_due(now() + interval '10 min')}), '3', 'two resends and the end of patience');
is( says(q{string_agg(current_state || ' ' || version, ', ' ORDER BY version) FROM saga.instance}),
	'Answered 2, GivenUp 4', 'one is answered, one has given up');
$node->stop;
done_testing();
