/*
 * main.c
 *		shippingd: shipments with a carrier.
 *
 * The only carrier so far is the simulated one, whose books are kept in the
 * database under transactions of their own.  A real one is another function of
 * the form of simulator_call, chosen in start.
 */
#include <string.h>

#include "lib/api.h"
#include "lib/log.h"
#include "lib/service.h"
#include "lib/simulator.h"

extern const char openapi_document[];

static char *carrier;

static Option options[] = {
	{"carrier", OPTION_STRING, &carrier, "simulator", 0, 0, NULL, false, false,
	"who delivers: simulator"},
	{NULL}
};

static const MessageHandler handlers[] = {
	{"ArrangeShipment", "ecommerce_shipping.arrange_shipment"},
	{"CancelShipment", "ecommerce_shipping.cancel_shipment"},
	{NULL}
};

static const HttpRoute routes[] = {
	{"GET", "/shipments", "ecommerce_shipping.list_shipments",
	"query:order_id query:after query:limit caller",
	ACCESS_OWN | ACCESS_WAREHOUSE | ACCESS_OPERATOR},
	{"POST", "/shipments/:id/dispatch", "ecommerce_shipping.dispatch_shipment", "path:id",
	ACCESS_WAREHOUSE | ACCESS_OPERATOR},
	{"POST", "/shipments/:id/deliver", "ecommerce_shipping.deliver_shipment", "path:id",
	ACCESS_WAREHOUSE | ACCESS_OPERATOR},
	{NULL}
};

static const Duty duties[] = {
	{"forget_keys", "ecommerce_shipping.forget_keys", 60000},
	{NULL}
};

static bool
start(Runtime *runtime)
{
	if (strcmp(carrier, "simulator") != 0)
	{
		log_write(LEVEL_FATAL, NULL, "Unknown carrier {Carrier}", "Carrier", carrier, NULL);
		return false;
	}
	simulator_start(runtime, "ecommerce_shipping.simulate");
	return true;
}

int
main(int argc, char **argv)
{
	static const HealthCheck checks[] = {{"provider", simulator_state}, {NULL}};
	static const Service service = {
		.program = "shippingd", .source = "ShippingService", .role = "ecommerce_shipping",
		.port = "5004", .endpoint = "shipping", .handlers = handlers, .routes = routes,
		.duties = duties, .options = options, .claim = "ecommerce_shipping.claim",
		.settle = "ecommerce_shipping.settle", .work = simulator_call, .start = start,
		.checks = checks, .openapi = openapi_document
	};

	return service_main(&service, argc, argv);
}
