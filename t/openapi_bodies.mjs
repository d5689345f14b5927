// Writes 10 000 request bodies, good and bad, one JSON array [operation, valid, body] a
// line: valid is what the OpenAPI document says of the body. Run by t/093_openapi_bodies.pl.
// Usage: node openapi_bodies.mjs SEED < {service: document}
import { readFileSync } from 'node:fs';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const documents = JSON.parse(readFileSync(0, 'utf8'));
const COUNT = 10000;
let state = Number(process.argv[2]) >>> 0;

// mulberry32
const random = () => {
	state = (state + 0x6d2b79f5) >>> 0;
	let t = Math.imul(state ^ (state >>> 15), state | 1);
	t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
	return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

// JSON has more ways to write a number than JavaScript: these are put in as they stand.
const written = (text) => `@written:${text}@`;
const asText = (body) => JSON.stringify(body).replace(/"@written:([^@"]*)@"/g, '$1');

const uuid = () => '01234567-89ab-4cde-8f01-23456789abcd'.replace(/[0-9a-f]/g,
	() => below(16).toString(16));
const line = () => ({ product_id: uuid(), sku: 'A', product_name: 'Apple',
	quantity: 1 + below(9) });
const operations = {
	submitOrder: ['order', '/orders', 'post', () => ({ customer_id: uuid(),
		email: 'ann@example.com', total_amount: 2.5,
		items: Array.from({ length: 1 + below(3) }, () => ({ ...line(), unit_price: 19.99 })),
		shipping_address: { street: '1 Main Street', city: 'Town', state: 'ST',
			postal_code: '12345', country: 'DE' },
		payment_method: { type: 'card', last4_digits: '4242', token: 'tok_ok' } })],
	cancelOrder: ['order', '/orders/{id}/cancel', 'post', () => ({ reason: 'too late' })],
	putProduct: ['inventory', '/products/{id}', 'put', () => pick([
		{ sku: 'A', name: 'Apple', kind: 'goods', price: { amount: 19.99, currency: 'EUR' } },
		{ sku: 'A', name: 'Apple', kind: 'charge', price: { percent: 19 } },
		{ sku: 'A', name: 'Apple' }])],
	adjustStock: ['inventory', '/products/{id}/stock', 'post',
		() => ({ delta: below(1000) - 500, reason: 'delivery' })]
};

const texts = ['', ' ', 'x', ' x ', 'x'.repeat(200), 'x'.repeat(201), '\u00e9'.repeat(200),
	'\u{1f34e}'.repeat(200), '\u{1f34e}'.repeat(201), '\t', '\u00a0', '\u2003\ufeff',
	'\u0085', '\u200b',
	'null', '0', '12', '4242', '42424', '424\n', 'card', 'sepa_debit', 'card1', 'card123', '1card',
	'Karte \u00fc', 'a'.repeat(50), 'a'.repeat(51), 'tok_1', 'tok 1', 'ann@example.com', 'ann',
	'a@b@c',
	'a b@c', `${'a'.repeat(64)}@b`, `${'a'.repeat(65)}@b`, 'a@b_c', 'goods', 'extra', 'charge',
	'thing',
	'EUR', 'eur', 'EURO', 'JPY', 'KWD'];
const uuids = () => [uuid().toUpperCase(), uuid().replaceAll('-', ''), `urn:uuid:${uuid()}`,
	`{${uuid()}}`, `${uuid()} `, uuid().slice(1), uuid().replace('a', 'g')];
const numbers = [0, 1, -1, 2, 1.5, 2.5, 19.99, 0.01, 100, 100.5, 1e6, 1000001, 9999999.99, 10000000,
	999999999999, 1e12, -999999999999, -1e12, ...['5.0', '-0', '2.50', '1e2', '1E-2',
		'1e300', '100.000', '0.1e1', '99999999999999999999'].map(written)];
const others = () => [null, true, false, [], {}, [1], { x: 1 }, ['x']];
const anything = () => pick([texts, numbers, uuids(), others(), texts, numbers].map(pick));

// Every place in a document that has a parent.
const places = (value, found = []) => {
	if (value !== null && typeof value === 'object')
		for (const key of Object.keys(value)) {
			found.push([value, key]);
			places(value[key], found);
		}
	return found;
};

const change = (body) => {
	const [parent, key] = pick(places(body));
	switch (below(6)) {
		case 0:
			if (Array.isArray(parent)) parent.splice(Number(key), 1);
			else delete parent[key];
			break;
		case 1:
			if (Array.isArray(parent)) parent.push(anything());
			else parent[pick(['currency', 'amount', 'percent', 'state', 'email', 'total_price', 'x',
				'', 'unit_price', 'kind', 'price', 'token'])] = anything();
			break;
		case 2:
			if (Array.isArray(parent[key]))
				parent[key] = Array.from({ length: pick([0, 1, 499, 500, 501]) }, line);
			else parent[key] = null;
			break;
		default:
			parent[key] = anything();
	}
};

const ajv = new Ajv2020.default({ strict: false });
addFormats.default(ajv);
for (const [service, document] of Object.entries(documents)) ajv.addSchema(document, service);
const pointer = (path) => encodeURIComponent(path.replace(/~/g, '~0').replace(/\//g, '~1'));

const names = Object.keys(operations);
const lines = [];
for (let n = 0; n < COUNT; n++) {
	const name = names[n % names.length];
	const [service, path, method, example] = operations[name];
	const validate = ajv.getSchema(`${service}#/paths/${pointer(path)}/${method}/requestBody`
		+ `/content/${pointer('application/json')}/schema`);
	const body = structuredClone(example());
	for (let changes = below(4); changes > 0 && places(body).length > 0; changes--) change(body);
	const text = asText(body);
	lines.push(`["${name}",${validate(JSON.parse(text))},${text}]`);
}
process.stdout.write(`${lines.join('\n')}\n`);
