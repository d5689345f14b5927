-- Is nothing left?
SELECT NOT EXISTS (SELECT FROM queue);
