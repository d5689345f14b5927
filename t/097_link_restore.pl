# One side of a link is restored from what it was before: what does not fit is said, and
# nothing is skipped or comes again in silence.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use LinkBed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bed = LinkBed->new('restore');

# Carries what there is, and ends.
sub carry
{
	my $pid = $bed->start_linkd;
	ok($bed->drained, "carried: $_[0]");
	$bed->stop_linkd($pid);
	return;
}

# One side as it was at its backup, in place of what it has become.
sub restore
{
	my ($side) = @_;
	my $node = PostgreSQL::Test::Cluster->new("old_$side");

	$bed->{$side}->stop;
	$node->init_from_backup($bed->{$side}, 'old');
	$node->start;
	$bed->{$side} = $node;
	$bed->write_services;
	return;
}

sub lost
{
	my ($code, $what) = @_;
	my $pid = $bed->start_linkd;

	ok($bed->{b}->poll_query_until($bed->{database},
		q{SELECT state = 'lost' FROM message_bus.links}), $what);
	is($bed->sql('b', 'SELECT error_code FROM message_bus.links'), $code, "it is $code");
	$bed->stop_linkd($pid);
	return;
}

sub dump_and_restore
{
	my ($side, $from, $to) = @_;
	my $node = $bed->{$side};
	my $file = "$bed->{directory}/$to.dump";

	command_ok([ 'pg_dump', '-Fc', '-f', $file, $node->connstr($from) ], "$side is dumped");
	$node->safe_psql('postgres', "CREATE DATABASE $to");
	command_ok([ 'pg_restore', '-d', $node->connstr($to), $file ], 'and restored');
	return;
}

subtest 'the target is older, and the source has it still' => sub {
	$bed->send_some(50);
	carry('the first');
	$bed->{b}->backup('old');
	# Accepted, but nobody has told the source.
	$bed->send_some(60);
	$bed->sql('b', "SELECT message_bus.accept('a_to_b', 200, 0, 1, '{}')");
	restore('b');
	carry('what came after the backup');
	is($bed->complaints, '', 'nothing is missing or twice there');
	is($bed->sql('b', 'SELECT state FROM message_bus.links'), 'running', 'it goes on by itself');
};

subtest 'the target is older' => sub {
	$bed->{b}->backup('old');
	$bed->send_some(70);
	carry('more');
	my $old = $bed->{b};
	$old->stop;
	my $node = PostgreSQL::Test::Cluster->new('older_b');
	$node->init_from_backup($old, 'old');
	$node->start;
	$bed->{b} = $node;
	$bed->write_services;
	lost('MB009', 'the source notices that it has let go of what is missing');
	$bed->send_some(10);
	$bed->reset_to_confirmed;
	carry('what the source has still');
	is($bed->complaints, "lost: 70\n", 'and no more');
	$bed->sql('a', 'TRUNCATE stress.sent');
	$bed->sql('b', 'TRUNCATE stress.handled');
};

subtest 'the source is older' => sub {
	$bed->{a}->backup('old');
	$bed->send_some(30);
	carry('more');
	restore('a');
	lost('MB008', 'the source notices that it has never sent what was read from it');
	$bed->send_some(20);
	$bed->reset_to_confirmed;
	carry('what it has sent since');
	is($bed->complaints, "invented: 30\n", 'what it has forgotten is known to the target alone');
	$bed->sql('b', 'TRUNCATE stress.handled');
	$bed->sql('a', 'TRUNCATE stress.sent');
};

# Somebody has to look at a lane that is lost; the others do not wait for that.  Who only looks at
# them when he begins anew, once a minute, loads what the target knows each time.
subtest 'one lane is lost' => sub {
	$bed->sql('b', q{ALTER DATABASE shop SET log_statement = 'all'});
	my $pid = $bed->start_linkd;
	my $log = $bed->{b}->logfile;
	my $rounds = 5;

	$bed->send_some(10);
	ok($bed->drained, 'all lanes are carried');
	my ($lane, $position) = split /\|/, $bed->sql('b', q{SELECT lane, position
		FROM message_bus.link_lanes WHERE lane < 4 AND position > 0 LIMIT 1});
	$bed->sql('b', "SELECT message_bus.lose_link('a_to_b', $lane, $position, 'MB008', 'so')");
	my $seen = -s $log;
	for my $n (1 .. $rounds)
	{
		# With so many keys there is one of another lane.
		$bed->sql('a', qq{SELECT count(message_bus.send('out', 'Other', jsonb_build_object('n', $n),
			partition_key => 'k' || i)) FROM generate_series(1, 40) i});
		ok($bed->{b}->poll_query_until($bed->{database}, qq{SELECT count(*) > 0
			FROM message_bus.peek('in', max => 1000) WHERE body ->> 'n' = '$n'}), "others are: $n");
	}
	my $asked = substr slurp_file($log), $seen;
	my $accepts = () = $asked =~ /: SELECT message_bus\.accept\(/g;
	my $loads = () = $asked =~ /FROM message_bus\.link l LEFT JOIN/g;
	cmp_ok($accepts, '>=', $rounds, 'the log has what is asked');
	cmp_ok($loads, '<', $rounds / 2, 'and it is not begun anew for each');
	$bed->sql('b', "SELECT message_bus.reset_link('a_to_b', $lane, $position)");
	ok($bed->{a}->poll_query_until($bed->{database},
		q{SELECT unconfirmed = 0 FROM message_bus.forwards}), 'what has waited comes, too');
	$bed->stop_linkd($pid);
	$bed->sql('b', q{ALTER DATABASE shop RESET log_statement});
	$bed->sql('b', q{SELECT count(message_bus.ack(delivery_id))
		FROM message_bus.receive('in', 1000)});
};

subtest 'dumped and restored' => sub {
	$bed->send_some(40);
	carry('before the dumps');
	$bed->send_some(40);
	dump_and_restore('b', 'shop', 'shop_again');
	$bed->{b}->safe_psql('postgres', 'DROP DATABASE shop');
	$bed->{b}->safe_psql('postgres', 'ALTER DATABASE shop_again RENAME TO shop');
	carry('a target from a dump that lacks nothing');
	is($bed->complaints, '', 'goes on where it was');
	$bed->send_some(40);
	dump_and_restore('a', 'shop', 'copy');
	$bed->{source} = 'copy';
	$bed->write_services;
	lost('MB008', 'a source from a dump is another database, though nothing is missing');
	$bed->sql('b', q{SELECT message_bus.reset_link('a_to_b', lane, position)
		FROM message_bus.link_lanes WHERE lane < 200});
	carry('told that it is the same, it');
	is($bed->complaints, '', 'goes on where it was, too');
};

done_testing();
