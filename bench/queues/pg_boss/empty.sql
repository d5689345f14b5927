-- Is nothing left? Completed jobs stay in the table; those that wait have an index.
SELECT (SELECT max(start_after) FROM pgboss.job WHERE name = 'bench' AND state < 'active') IS NULL
	AND NOT EXISTS (SELECT FROM pgboss.job WHERE name = 'bench' AND state = 'active');
