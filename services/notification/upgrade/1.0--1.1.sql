-- By hand, from 1.0 to 1.1; see extension/upgrade/README.md.

-- One plan is kept from the first row on: what is good for few must be good for many.
ALTER FUNCTION ecommerce_notification.claim(int, interval) SET enable_seqscan = off;

-- What comes of outside work goes back to the message that asked for it.
ALTER TABLE ecommerce_notification.notification
	ADD COLUMN causation_id uuid DEFAULT (ecommerce.context()).causation_id;
CREATE OR REPLACE FUNCTION ecommerce_notification._act_for(work ecommerce_notification.notification)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $act_for$
		BEGIN
			PERFORM ecommerce.set_context(work.correlation_id, work.causation_id,
				user_id => work.user_id, tenant_id => work.tenant_id,
				traceparent => work.traceparent);
		END
		$act_for$;

-- After everything else
-- It has done its work when the extension was created.
DROP FUNCTION ecommerce_notification._outside_work(regclass, name, text[], text);
