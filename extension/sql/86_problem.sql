-- What functions that look for what is wrong give, and ecommerce.problems shows.

CREATE TYPE ecommerce._problem AS (
	kind text,
	object text,
	severity text,
	since timestamptz,
	holds_up text,
	what_to_type text,
	detail jsonb
);
COMMENT ON TYPE ecommerce._problem IS 'A row of ecommerce.problems.';
