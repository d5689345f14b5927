-- Is nothing left? A job that is done is deleted.
SELECT NOT EXISTS (SELECT FROM graphile_worker.jobs);
