-- What t/095_console.pl looks at then: names and bodies that would be markup, or run from right
-- to left, or never end.
SELECT message_bus.create_endpoint('<script>window.hurt=1</script>');
SELECT message_bus.send('<script>window.hurt=1</script>', '"><svg onload=window.hurt=1>',
	jsonb_build_object('a', repeat('<b>&amp;', 125000)));
SELECT message_bus.send('<script>window.hurt=1</script>', 'فاتورة جديدة',
	'{"اسم": "مصباح", "b": "\u202Etxt.exe"}');
DO $$
DECLARE
	one record;
BEGIN
	FOR one IN SELECT * FROM message_bus.receive('<script>window.hurt=1</script>', 10) LOOP
		PERFORM message_bus.fail(one.delivery_id, '<b>code',
			'<a href="javascript:window.hurt=1">خطأ', false);
	END LOOP;
END
$$;
SELECT event_store.append('<script>window.hurt=1</script>-' || repeat('x', 150), -1,
	'<iframe src=javascript:window.hurt=1>', jsonb_build_object('a', repeat('&lt;script&gt;', 70000)));
SELECT event_store.append('اسم-١', -1, 'حدث', '{"\u202E": "</script><script>window.hurt=1</script>"}');
