-- Cells: ids that tell which database made them.
CREATE EXTENSION ecommerce;
SHOW ecommerce.cell;
SELECT ecommerce.cell_of(ecommerce.new_id());
SET ecommerce.cell = 4096;
SET ecommerce.cell = -1;
SET ecommerce.cell = 2748;
SELECT substr(id::text, 15, 4), ecommerce.cell_of(id), substr(id::text, 20, 1) IN ('8', '9', 'a', 'b') AS variant,
	abs(extract(epoch FROM clock_timestamp()) * 1000
		- ('x' || lpad(left(replace(id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint) < 60000 AS now
FROM ecommerce.new_id() id;
SET ecommerce.cell = 4095;
SELECT ecommerce.cell_of(ecommerce.new_id());
RESET ecommerce.cell;
-- Two are never the same, also within a millisecond.
SELECT count(DISTINCT ecommerce.new_id()) FROM generate_series(1, 10000);
SELECT bool_and(ecommerce.cell_of(ecommerce.new_id()) = 0) FROM generate_series(1, 10000);
SELECT ecommerce.cell_of('01234567-89ab-7abc-8def-0123456789ab'),
	ecommerce.cell_of('01234567-89ab-4abc-8def-0123456789ab') IS NULL AS no_v7, ecommerce.cell_of(NULL) IS NULL AS unknown;
-- Of a database, which is where it belongs; not for everybody to change.
CREATE ROLE regress_cell LOGIN;
GRANT ecommerce_reader TO regress_cell;
SET SESSION AUTHORIZATION regress_cell;
SELECT ecommerce.cell_of(ecommerce.new_id());
SET ecommerce.cell = 1;
RESET SESSION AUTHORIZATION;
DROP ROLE regress_cell;

-- ------------------------------------------------------------ a facade for SQL clients
SELECT count(*), count(*) FILTER (WHERE f LIKE 'CREATE FUNCTION cells.%') AS functions,
	count(*) FILTER (WHERE f LIKE '%p0 ''service=''''a''''''%p1 ''service=''''b c''''''%') AS servers,
	count(*) FILTER (WHERE f ~ 'cell BETWEEN 1 AND 2 ') AS of_two
FROM ecommerce.facade('{a,b c}') f;
SELECT ecommerce.facade('{}');
SELECT ecommerce.facade('{a,NULL}');
SELECT ecommerce.facade(NULL);
