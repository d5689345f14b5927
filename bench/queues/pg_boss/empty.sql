-- Is nothing left? Completed jobs stay in the table.
SELECT NOT EXISTS (SELECT FROM pgboss.job WHERE name = 'bench' AND state < 'completed');
