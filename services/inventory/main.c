/*
 * main.c
 *		inventoryd: products, stock and reservations.
 */
#include "lib/service.h"

extern const char openapi_document[];

static const MessageHandler handlers[] = {
	{"ReserveInventory", "ecommerce_inventory.reserve_inventory"},
	{"CommitReservation", "ecommerce_inventory.commit_reservation"},
	{"ReleaseInventory", "ecommerce_inventory.release_inventory"},
	{NULL}
};

static const HttpRoute routes[] = {
	{"GET", "/products", "ecommerce_inventory.list_products", "query:after query:limit",
	ACCESS_CUSTOMER | ACCESS_WAREHOUSE | ACCESS_OPERATOR},
	{"GET", "/products/:id", "ecommerce_inventory.get_product", "path:id header:If-None-Match",
	ACCESS_CUSTOMER | ACCESS_WAREHOUSE | ACCESS_OPERATOR},
	{"PUT", "/products/:id", "ecommerce_inventory.put_product",
	"path:id body header:If-Match header:If-None-Match", ACCESS_OPERATOR},
	{"POST", "/products/:id/stock", "ecommerce_inventory.adjust_stock",
	"path:id body header:If-Match",
	ACCESS_WAREHOUSE | ACCESS_OPERATOR},
	{NULL}
};

static const Duty duties[] = {
	{"forget_keys", "ecommerce_inventory.forget_keys", 60000},
	{"expire_holds", "ecommerce_inventory.expire_holds", 1000},
	{NULL}
};

int
main(int argc, char **argv)
{
	static const Service service = {
		.program = "inventoryd", .source = "InventoryService", .role = "ecommerce_inventory",
		.port = "5002", .endpoint = "inventory", .handlers = handlers, .routes = routes,
		.duties = duties, .openapi = openapi_document
	};

	return service_main(&service, argc, argv);
}
