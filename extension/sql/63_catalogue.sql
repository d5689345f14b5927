-- The catalogue: what inventory says of its products to the other services.

CREATE DOMAIN ecommerce.product_kind AS text
	CONSTRAINT known_kind CHECK (VALUE IN ('goods', 'extra', 'charge'));
COMMENT ON DOMAIN ecommerce.product_kind IS 'goods, an extra that a customer may add, or a charge that is on every order; null is goods.';
CREATE DOMAIN ecommerce.catalogue_amount AS numeric
	CONSTRAINT what_a_price_can_be CHECK (VALUE BETWEEN 0 AND 9999999.9999);
COMMENT ON DOMAIN ecommerce.catalogue_amount IS 'What one piece costs, in the currency that stands beside it; at most as many decimals as that has.';
CREATE DOMAIN ecommerce.catalogue_percent AS numeric
	CONSTRAINT what_a_part_can_be CHECK (VALUE BETWEEN 0 AND 100);
COMMENT ON DOMAIN ecommerce.catalogue_percent IS 'A part of what the rest of an order costs, in percent.';

CREATE TYPE ecommerce.product_price AS (
	amount ecommerce.catalogue_amount,
	currency ecommerce.currency_code,
	percent ecommerce.catalogue_percent
);
COMMENT ON TYPE ecommerce.product_price IS 'What a product costs: an amount in a currency, or, of a charge, percent of the other lines.';

CREATE TYPE ecommerce.product_described AS (
	product_id ecommerce.required_uuid,
	sku ecommerce.required_text,
	name ecommerce.required_text,
	kind ecommerce.product_kind,
	price ecommerce.product_price
);
COMMENT ON TYPE ecommerce.product_described IS 'Domain event on product-<id>, and integration event of InventoryService: what a product is now. price: null as long as it has none.';
