-- Is nothing left? The last row: those before it are dead.
SELECT max(msg_id) IS NULL FROM queue;
