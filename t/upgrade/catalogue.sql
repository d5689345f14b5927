-- Everything that the catalogs know of our extensions, a line for each object and each part of it:
-- two databases of which this says the same have the same extensions. Not what depends on how they
-- came about: object ids, numbers of columns, the order of privileges.

CREATE FUNCTION pg_temp.rights(given aclitem[], kind "char", owner oid) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT string_agg(format('%s=%s%s/%s', CASE a.grantee WHEN 0 THEN 'PUBLIC'
		ELSE a.grantee::regrole::text END, a.privilege_type, CASE WHEN a.is_grantable THEN '*' END,
		a.grantor::regrole), ' ' ORDER BY a.grantee::regrole::text, a.privilege_type)
	FROM aclexplode(coalesce(given, acldefault(kind, owner))) a
$$;

CREATE TEMP VIEW member AS
	SELECT x.extname, d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS object
	FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND x.extname LIKE 'ecommerce%';
CREATE TEMP VIEW relation AS
	SELECT m.object, c.* FROM member m JOIN pg_class c ON c.oid = m.objid
	WHERE m.classid = 'pg_class'::regclass
	UNION ALL
	-- the columns of composite types
	SELECT m.object, c.* FROM member m JOIN pg_type t ON t.oid = m.objid
		JOIN pg_class c ON c.oid = t.typrelid
	WHERE m.classid = 'pg_type'::regclass AND t.typtype = 'c' AND c.relkind = 'c';

SELECT regexp_replace(line, E'\n', '\\n', 'g') FROM (
	SELECT format('%s has %s: %s', m.extname, m.object,
		obj_description(m.objid, (SELECT relname FROM pg_class WHERE oid = m.classid)))
	FROM member m
	UNION ALL
	SELECT format('%s: version %s of %s, dumps %s with %s', x.extname, x.extversion,
		x.extowner::regrole, c.table, c.condition)
	FROM pg_extension x
	LEFT JOIN LATERAL unnest(x.extconfig::regclass[], x.extcondition) AS c ("table", condition) ON true
	WHERE x.extname LIKE 'ecommerce%'
	UNION ALL
	SELECT format('%s of %s: %s rights %s', m.object, n.nspowner::regrole, n.nspname,
		pg_temp.rights(n.nspacl, 'n', n.nspowner))
	FROM member m JOIN pg_namespace n ON n.oid = m.objid WHERE m.classid = 'pg_namespace'::regclass
	UNION ALL
	SELECT format('%s of %s: %s rights %s, %s, %s', m.object, p.proowner::regrole,
		pg_get_functiondef(p.oid), pg_temp.rights(p.proacl, 'f', p.proowner), p.prosupport, p.probin)
	FROM member m JOIN pg_proc p ON p.oid = m.objid WHERE m.classid = 'pg_proc'::regclass
	UNION ALL
	SELECT format('%s of %s: kind %s %s %s, %s, rights %s, view %s', r.object, r.relowner::regrole,
		r.relkind, r.relpersistence, r.relreplident, r.reloptions,
		pg_temp.rights(r.relacl, CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", r.relowner),
		CASE WHEN r.relkind = 'v' THEN pg_get_viewdef(r.oid) END)
	FROM relation r
	UNION ALL
	SELECT format('%s: column %s %s %s %s, null %s, default %s, %s%s %s%s, rights %s: %s', r.object,
		row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), a.attname,
		format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, NOT a.attnotnull,
		pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage, a.attcompression,
		a.attacl, col_description(r.oid, a.attnum))
	FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
	LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
	UNION ALL
	SELECT format('%s: constraint %s %s, valid %s: %s', coalesce(r.object, m.object), k.conname,
		pg_get_constraintdef(k.oid), k.convalidated, obj_description(k.oid, 'pg_constraint'))
	FROM pg_constraint k LEFT JOIN relation r ON r.oid = k.conrelid AND k.conrelid <> 0
	LEFT JOIN member m ON m.objid = k.contypid AND m.classid = 'pg_type'::regclass AND k.contypid <> 0
	WHERE r.oid IS NOT NULL OR m.objid IS NOT NULL
	UNION ALL
	SELECT format('%s: %s, valid %s, identity %s: %s', r.object, pg_get_indexdef(i.indexrelid),
		i.indisvalid, i.indisreplident, obj_description(i.indexrelid, 'pg_class'))
	FROM relation r JOIN pg_index i ON i.indrelid = r.oid
	UNION ALL
	SELECT format('%s: %s, enabled %s', r.object, pg_get_triggerdef(g.oid), g.tgenabled)
	FROM relation r JOIN pg_trigger g ON g.tgrelid = r.oid WHERE NOT g.tgisinternal
	UNION ALL
	SELECT format('%s: %s', r.object, pg_get_ruledef(w.oid))
	FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid
	UNION ALL
	SELECT format('%s: %s', r.object, s)
	FROM relation r JOIN pg_sequence q ON q.seqrelid = r.oid
	CROSS JOIN LATERAL (SELECT q.seqtypid::regtype, q.seqstart, q.seqincrement, q.seqmax, q.seqmin,
		q.seqcache, q.seqcycle) s
	UNION ALL
	SELECT format('%s of %s: %s, base %s %s %s, default %s, rights %s', m.object, t.typowner::regrole,
		t.typtype, format_type(t.typbasetype, t.typtypmod), t.typcollation::regcollation, t.typnotnull,
		t.typdefault, pg_temp.rights(t.typacl, 'T', t.typowner))
	FROM member m JOIN pg_type t ON t.oid = m.objid
	WHERE m.classid = 'pg_type'::regclass AND t.typtype <> 'b'
	UNION ALL
	SELECT format('%s: rights at creation %s', pg_describe_object(p.classoid, p.objoid, p.objsubid),
		(SELECT string_agg(i::text, ' ' ORDER BY i::text) FROM unnest(p.initprivs) i))
	FROM pg_init_privs p JOIN member m ON m.classid = p.classoid AND m.objid = p.objoid
) AS known (line)
ORDER BY line COLLATE "C";
