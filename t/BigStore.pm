# Fills a store for tests of what looking at a large one costs, and tells how far it is.
package BigStore;

use strict;
use warnings;

use File::Basename qw(dirname);
use Test::More;
use Time::HiRes qw(time);

# What scale 1 means; `make check-looking` takes 50.
my %rows = (events => 200_000, streams => 20_000, backlog => 50_000, dead => 20_000, sagas => 5000,
	orders => 20_000);

# Parts that take longer are worth a word, in seconds.
use constant LONG => 5;

# How many rows of a kind there are at a scale.
sub rows
{
	my ($kind, $scale) = @_;
	return $rows{$kind} * $scale;
}

# Runs files beside us in a database, as the superuser.
sub fill
{
	my ($node, $database, $scale, @files) = @_;

	for my $file (@files)
	{
		open(my $said, '-|', 'psql', '-XqAt', '-d', $node->connstr($database), '-f',
			dirname(__FILE__) . "/$file", map { ('-v', "$_=" . rows($_, $scale)) } sort keys %rows)
		  or die "cannot run psql: $!\n";
		_watch($said);
		close $said or die "$file does not run to its end\n";
	}
	return;
}

# Until all is as it is when autovacuum has been there: who looks on meanwhile may be in its way.
sub vacuumed
{
	my ($node, $database, @tables) = @_;

	for my $table (@tables)
	{
		my $query = "SELECT relallvisible > 0.99 * relpages FROM pg_class
			WHERE oid = '$table'::regclass";

		for (1 .. 100)
		{
			$node->safe_psql($database, "VACUUM $table");
			last if $node->safe_psql($database, $query) eq 't';
		}
		is($node->safe_psql($database, $query), 't', "$table is vacuumed");
	}
	return;
}

# Parts are announced by lines of their own.
sub _watch
{
	my ($said) = @_;
	my ($part, $begun) = ('', time);
	my $tell = sub {
		my $took = time - $begun;
		diag(sprintf '%s: %.0f s', $part, $took) if $took > LONG;
	};

	while (my $line = <$said>)
	{
		next unless $line =~ /^part: (.*)/;
		$tell->();
		($part, $begun) = ($1, time);
	}
	$tell->();
	return;
}

1;
