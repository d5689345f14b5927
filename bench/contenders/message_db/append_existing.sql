\set i :i + 1
\set s :i % :streams
\set v :i / :streams
SELECT write_message(gen_random_uuid()::varchar, 'order-' || :run::text || '-' || :client_id::text || '-' || :s::text, 'OrderCreated', :data::jsonb, NULL, :v::bigint - 1);
