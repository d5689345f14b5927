# Brokers that take TLS only and ask for a password: streamd publishes to whom it can prove to
# be the one, with what its file says, and to nobody else; what it says of it has no password.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use StreamBed;
use Test::More;

my $bed = StreamBed->new(secure => 1, mechanism => 'SCRAM-SHA-512');
my %other = (
	kafka => { authority => 'ssl.ca.location', password => 'sasl.password' },
	jetstream => { authority => 'cacert', password => 'password' });

sub until_failing
{
	my ($name, $why) = @_;
	return $bed->until_sql("SELECT coalesce(error ~* '$why', false) FROM event_store.sinks
		WHERE name = '$name'");
}

sub error_of { return $bed->sql("SELECT error FROM event_store.sinks WHERE name = '$_[0]'"); }

# With a setting that is another one, undef: with none, a sink fails, and why; then it goes on.
sub refused
{
	my ($kind, $what, $settings, $why) = @_;

	$bed->write_brokers($kind => $settings);
	my $pid = $bed->start_streamd;
	$bed->append(3);
	ok(until_failing("to_$kind", $why), "$kind: $what is refused") or diag error_of("to_$kind");
	unlike(error_of("to_$kind"), qr/sesame/, 'it says so without a password');
	$bed->write_brokers;
	ok($bed->until_published("to_$kind"), 'with the right one it goes on by itself');
	is($bed->stop($pid), 0, 'it stops');
	return;
}

$bed->create($_, "to_$_") for sort keys %other;
my $pid = $bed->start_streamd;
$bed->append(20);
for my $kind (sort keys %other)
{
	ok($bed->until_published("to_$kind"), "$kind: all is there");
	is($bed->complaints($kind, "to_$kind"), '', 'once and in order');
}
is($bed->stop($pid), 0, 'it stops');

for my $kind (sort keys %other)
{
	my ($authority, $password) = @{ $other{$kind} }{qw(authority password)};

	refused($kind, 'one whom another authority vouches for',
		{ $authority => "$bed->{directory}/other.pem" }, 'certificate|ssl');
	refused($kind, 'one whom nobody on this machine knows',
		{ $authority => undef, $kind eq 'jetstream' ? (tls => 'on') : () }, 'certificate|ssl');
	refused($kind, 'a wrong password', { $password => 'sesame seed' }, 'auth');
}

# The same Kafka with other mechanisms: none but its own will do.
for my $mechanism (qw(PLAIN SCRAM-SHA-256))
{
	my $sink = 'with_' . lc $mechanism;

	$bed->sql("SELECT event_store.drop_sink(name) FROM event_store.sinks WHERE kind = 'kafka'");
	$bed->stop($bed->{broker}{kafka}, 'KILL');
	$bed->{mechanism} = $mechanism;
	$bed->start_broker('kafka');
	$bed->write_brokers(kafka => { 'sasl.mechanism' => 'SCRAM-SHA-512' });
	$bed->create('kafka', $sink);
	$bed->append(20);
	$pid = $bed->start_streamd;
	ok(until_failing($sink, 'mechanism|auth'), "$mechanism: another one is refused")
	  or diag error_of($sink);
	$bed->write_brokers(kafka => { 'sasl.password' => 'sesame seed' });
	ok(until_failing($sink, 'auth'), 'a wrong password too') or diag error_of($sink);
	$bed->write_brokers;
	ok($bed->until_published($sink), 'with the right one all is there');
	is($bed->complaints('kafka', $sink), '', 'once and in order');
	is($bed->stop($pid), 0, 'it stops');
}
$bed->sql("SELECT event_store.drop_sink(name) FROM event_store.sinks WHERE kind = 'kafka'");
$bed->create('kafka', 'to_kafka');

# Who is elsewhere is not here, whoever vouches for him.
for my $kind (sort keys %other)
{
	$bed->stop($bed->{broker}{$kind}, 'KILL');
	$bed->start_broker($kind, 'elsewhere');
	$pid = $bed->start_streamd;
	$bed->append(3);
	ok(until_failing("to_$kind", 'certificate|ssl'), "$kind: another machine's name is refused")
	  or diag error_of("to_$kind");
	is($bed->stop($pid), 0, 'it stops');
}
unlike(slurp_file("$bed->{directory}/streamd.out"), qr/sesame/, 'no password is in the log');
$bed->{node}->stop;
done_testing();
