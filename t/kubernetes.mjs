// Checks Kubernetes manifests: each file named on the command line, or standard input if none
// is. Every object fits the schema of its kind, names its image or secret and is there once,
// and every object that a patch of the overlays changes exists in base. Run by t/037_kubernetes.pl
// on the files and by ci/kubernetes on what kustomize makes of the overlays.
import { readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';

const MODULES = {
	'postgresql.cnpg.io/v1': '@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1',
};
let problems = 0;

const complain = (text) => {
	console.log(text);
	problems++;
};

// The objects of one file, with where each is from.
const read = (file) =>
	parseAllDocuments(readFileSync(file || 0, 'utf8')).flatMap((document) => {
		for (const error of document.errors) complain(`${file}: ${error.message}`);
		const object = document.toJS();
		return object ? [{ file, object, name: `${object.kind} ${object.metadata?.name}` }] : [];
	});

// What refers to another object by name, anywhere in an object.
const references = (value, found = []) => {
	for (const [key, it] of Object.entries(value ?? {})) {
		if (key === 'secretKeyRef') found.push(`Secret ${it.name}`);
		else if (key === 'configMapRef') found.push(`ConfigMap ${it.name}`);
		else if (typeof it === 'object') references(it, found);
	}
	return found;
};

const files = process.argv.slice(2);
const isPatch = (file) => /overlays\//.test(file) && !/namespace/.test(file);
const objects = (files.length ? files : ['']).flatMap(read);
const whole = objects.filter(({ file }) => !isPatch(file));
const names = whole.map(({ name }) => name);

for (const { file, object, name } of whole) {
	const { [object.kind]: Model } = await import(
		MODULES[object.apiVersion] ?? `kubernetes-models/${object.apiVersion}`);
	try {
		new Model(object).validate();
	} catch (error) {
		complain(`${file} ${name}: ${error.message}`);
	}
	for (const container of object.spec?.template?.spec?.containers ?? [])
		for (const wanted of ['image', 'resources', 'securityContext'])
			if (!container[wanted]) complain(`${file} ${name}: ${container.name} has no ${wanted}`);
	for (const reference of references(object.spec))
		if (reference.startsWith('ConfigMap') && !names.includes(reference))
			complain(`${file} ${name}: there is no ${reference}`);
}
const again = names.filter((name, at) => names.indexOf(name) !== at && !/^Namespace/.test(name));
for (const name of again)
	complain(`${name} is there twice`);
for (const { file, name } of objects.filter(({ file }) => isPatch(file)))
	if (!names.includes(name)) complain(`${file}: changes ${name}, which there is not`);
console.log(`${whole.length} objects, ${objects.length - whole.length} patches`);
process.exit(problems ? 1 : 0);
