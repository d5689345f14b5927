"""What it costs to check an event's data against its registered type."""
from driver.load import LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement
from driver.server import ServerError

CHECK = "OrderCreated with {} items"
CALLS = 200000

ITEM = ("""{"product_id": "0b7c61c2-6dcd-4d5c-9e0f-3f9d5c6b1f11", "product_name": "WHITE LANTERN","""
        """ "sku": "71053", "quantity": 6, "unit_price": 3.39, "total_price": 20.34}""")
ORDER = """{"customer_id": "0b7c61c2-6dcd-4d5c-9e0f-3f9d5c6b1f12", "items": [%s],
 "total_amount": 40.68, "shipping_address": {"street": "1 High Street", "city": "Leeds",
 "state": "", "postal_code": "LS1", "country": "United Kingdom"},
 "payment_method": {"type": "card", "last4_digits": "4242", "token": "tok_ok"}}"""


def timed(bench, contender, order):
    """Calls check_data() many times; returns what that cost the server."""
    with Meter(bench.server) as meter:
        # The function is volatile, so it is called for every row.
        bench.server.sql(contender.database, f"""
            DO $do$
            DECLARE
                data jsonb := '{order}';
            BEGIN
                PERFORM count(event_store.check_data('OrderCreated', data))
                FROM generate_series(1, {CALLS});
            END
            $do$""")
    return meter.cost


def run_one(bench, contender, items):
    order = ORDER % ", ".join([ITEM] * items)

    def run():
        # Without registration the same call finds nothing to check.
        bench.server.sql(contender.database,
                         "SELECT event_store.unregister_event_type('OrderCreated')")
        bare = timed(bench, contender, order)
        bench.server.sql(contender.database, "SELECT ecommerce.register_contracts()")
        full = timed(bench, contender, order)
        return {"us": (full.cpu - bare.cpu) / CALLS * 1e6, "call_us": full.cpu / CALLS * 1e6,
                "foreign": max(full.foreign, bare.foreign)}
    return run


def cases(bench):
    made = []
    for contender in bench.fresh("ours"):
        bench.server.sql(contender.database, "SELECT ecommerce.register_contracts()")
        try:
            bench.server.sql(contender.database,
                             "SELECT event_store.check_data('OrderCreated', '{}')")
        except ServerError as error:
            if "is missing" not in str(error):
                raise
        else:
            raise LoadError("an empty OrderCreated was not refused")
        made += [Case(CHECK.format(items), contender.name, run_one(bench, contender, items))
                 for items in (1, 2, 10)]
    return made


Measurement(
    name="validation",
    title="check of an event's data against its registered type",
    cases=cases,
    primary="us",
    columns=[Column("us", "us a check", "{:.2f}"), Column("call_us", "us a call", "{:.2f}")],
    bounds=[Bound("check of an OrderCreated with two items, in us", 2.0, False,
                  lambda s: s.median(CHECK.format(2), "ours", "us"))],
    notes="""
CPU time of a call of check_data() less that of the same call for a type that is not registered.""")
