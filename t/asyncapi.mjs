// Reads {"document": an AsyncAPI document, "samples": [{schema, data, fits}]} from standard
// input. Fails unless the parser of the AsyncAPI initiative finds neither error nor warning
// and each sample fits its schema, or not, as it says. Run by t/034_asyncapi.pl.
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';

const ERROR = 0;
const WARNING = 1;
const { document, samples } = JSON.parse(readFileSync(0, 'utf8'));
let problems = 0;

const complain = (text) => {
	console.log(text);
	problems++;
};

const { document: parsed, diagnostics } = await new Parser().parse(JSON.stringify(document));
for (const d of diagnostics.filter((d) => d.severity === ERROR || d.severity === WARNING))
	complain(`${d.code} at ${d.path.join('.')}: ${d.message}`);
if (!parsed) complain('the parser gave no document');
else console.log(`messages ${parsed.allMessages().length}`);

const ajv = new Ajv.default({ strict: false });
addFormats.default(ajv);
ajv.addSchema({ $id: 'document', components: document.components });
for (const { schema, data, fits } of samples) {
	const validate = ajv.compile({ $ref: `document#/components/schemas/${schema}` });
	if (validate(data) !== fits)
		complain(`${schema} ${fits ? 'refuses' : 'takes'} ${JSON.stringify(data)}: ` +
			JSON.stringify(validate.errors));
}
process.exit(problems > 0 ? 1 : 0);
