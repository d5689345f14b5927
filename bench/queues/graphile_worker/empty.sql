-- Is nothing left? A job that is done is deleted. The last row: those before it are dead.
SELECT max(id) IS NULL FROM graphile_worker._private_jobs;
