// The document of event_store.asyncapi() as declarations of TypeScript.
//
// A schema becomes an interface; Contracts has the current version of each type by its name,
// Versions every version as "Name.vN".

// document: AsyncAPI 3, as event_store.asyncapi() gives it
export function toTypeScript({ components: { schemas = {}, messages = {} } }) {
	const interfaces = Object.entries(schemas).filter(([key]) => key !== 'envelope')
		.sort(byKey).map(([key, schema]) => declaration(key, schema));
	const all = Object.entries(messages).sort(byKey);
	const current = all.filter(([, message]) => message['x-current']);

	return [
		'// Written by ecommerce-types from event_store.asyncapi(): do not edit.', ...interfaces,
		record('Contracts', 'The current version of every type.',
			current.map(([, { name, payload }]) => [name, payload])),
		record('Versions', 'Every version of every type.',
			all.map(([key, { payload }]) => [key, payload])),
	].join('\n\n') + '\n';
}

const byKey = ([a], [b]) => (a < b ? -1 : 1);
const comment = (text, indent = '') =>
	(text ? `${indent}/** ${text.replaceAll('*/', '* /')} */\n` : '');
const property = (name) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));

function declaration(key, schema) {
	return `${comment(schema.description)}export type ${typeName(key)} = ${typeOf(schema)};`;
}

function record(name, text, members) {
	const lines = members.map(([key, payload]) => `\t${property(key)}: ${typeOf(payload)};\n`);

	return `${comment(text)}export interface ${name} {\n${lines.join('')}}`;
}

// shop.order_created is ShopOrderCreated; what no identifier can have is written as its code.
export function typeName(key) {
	const name = key.replace(/(?:^|[^\p{L}\p{N}]+)(\p{L}|\p{N}|$)/gu,
		(_, letter) => letter.toUpperCase());

	return /^\p{N}/u.test(name) || name === '' ? `T${name}` : name;
}

function typeOf(schema, indent = '') {
	if (schema.$ref) return typeName(schema.$ref.split('/').at(-1).replaceAll('~1', '/'));
	if (schema.allOf) return schema.allOf.map((part) => typeOf(part, indent)).join(' & ');
	if (schema.oneOf) return schema.oneOf.map((part) => typeOf(part, indent)).join(' | ');
	if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
	if (schema.type === undefined) return 'unknown';
	return [].concat(schema.type).map((type) => ofType(type, schema, indent)).join(' | ');
}

function ofType(type, schema, indent) {
	switch (type) {
		case 'integer': return 'number';
		case 'array': return `Array<${typeOf(schema.items ?? {}, indent)}>`;
		case 'object': return objectType(schema, indent);
		default: return type;
	}
}

function objectType({ properties, required = [], additionalProperties }, indent) {
	if (!properties || Object.keys(properties).length === 0) {
		return additionalProperties === false ? 'Record<string, never>'
			: 'Record<string, unknown>';
	}
	const members = Object.entries(properties).map(([name, schema]) =>
		`${comment(schema.description, `${indent}\t`)}${indent}\t${property(name)}` +
		`${required.includes(name) ? '' : '?'}: ${typeOf(schema, `${indent}\t`)};\n`);

	return `{\n${members.join('')}${indent}}`;
}
