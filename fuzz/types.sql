-- The contract that documents are fuzzed against: every kind of field that a contract knows.
CREATE TYPE public.fuzzed_mood AS ENUM ('glad', 'sad');
CREATE DOMAIN public.fuzzed_word AS text CHECK (length(VALUE) < 20);
CREATE DOMAIN public.fuzzed_name AS public.fuzzed_word NOT NULL;
CREATE DOMAIN public.fuzzed_count AS int CHECK (VALUE > 0);
CREATE DOMAIN public.fuzzed_counts AS public.fuzzed_count[] CHECK (cardinality(VALUE) < 4);
CREATE TYPE public.fuzzed_leaf AS (t text, v varchar(4), c char(3), n numeric, p numeric(5, 2), i2 int2,
	i4 int4, i8 int8, f4 float4, f8 float8, b boolean, u uuid, d date, ts timestamp, tz timestamptz,
	ti time, iv interval, m public.fuzzed_mood, j jsonb, js json, by bytea, r int4range, ip inet,
	w public.fuzzed_word, k public.fuzzed_count, "Odd ""key""" text);
CREATE DOMAIN public.fuzzed_sound AS public.fuzzed_leaf CHECK (VALUE IS NULL OR (VALUE).i4 IS NOT NULL);
CREATE TYPE public.fuzzed AS (leaf public.fuzzed_leaf, leaves public.fuzzed_leaf[],
	sound public.fuzzed_sound, ints int4[], texts text[], counts public.fuzzed_counts,
	name public.fuzzed_name, names public.fuzzed_name[]);
