# A background psql may take its time for each statement, not for all that a test does with it:
# ci/run_tap loads this into every test. On a slow machine a session that is opened first was
# given up in the middle of a test that was well.
package PatientPsql;
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;

my $opens = \&PostgreSQL::Test::Cluster::background_psql;
{
	no warnings 'redefine';
	*PostgreSQL::Test::Cluster::background_psql = sub {
		my $session = $opens->(@_);
		$session->set_query_timer_restart;
		return $session;
	};
}

1;
