/*
 * main.c
 *		orderd: orders over HTTP; the order saga in the database speaks for orders.
 *		What it consumes are products of an inventory in a database of its own.
 */
#include "lib/service.h"

extern const char openapi_document[];

static const MessageHandler handlers[] = {
	{"ProductDescribed", "ecommerce_order.describe_product"},
	{NULL}
};

static const HttpRoute routes[] = {
	{"POST", "/orders", "ecommerce_order.submit_order", "body caller",
	ACCESS_OWN | ACCESS_OPERATOR},
	{"GET", "/orders", "ecommerce_order.list_orders",
	"query:customer_id query:status query:after query:limit caller", ACCESS_OWN | ACCESS_OPERATOR},
	{"GET", "/orders/events", "ecommerce_order.follow_orders",
	"query:after query:limit query:wait caller", ACCESS_OWN | ACCESS_OPERATOR, .follows = true},
	{"GET", "/orders/:id", "ecommerce_order.get_order", "path:id header:If-None-Match caller",
	ACCESS_OWN | ACCESS_OPERATOR},
	{"GET", "/orders/:id/events", "ecommerce_order.get_order_events",
	"path:id query:after query:limit caller", ACCESS_OWN | ACCESS_OPERATOR},
	{"POST", "/orders/:id/cancel", "ecommerce_order.cancel_order",
	"path:id body header:If-Match caller", ACCESS_OWN | ACCESS_OPERATOR},
	{NULL}
};

static const Duty duties[] = {
	{"forget_keys", "ecommerce_order.forget_keys", 60000},
	{NULL}
};

int
main(int argc, char **argv)
{
	static const Service service = {
		.program = "orderd", .source = "OrderService", .role = "ecommerce_order", .port = "5001",
		.endpoint = "catalogue", .bus = "order", .handlers = handlers,
		.routes = routes, .follows = "order", .duties = duties, .openapi = openapi_document
	};

	return service_main(&service, argc, argv);
}
