// The difference between two JSON values, path by path.
import { html } from './htm.js';
import { Empty } from './ui.js';

export function differences(from, to, path = '') {
	if (JSON.stringify(from) === JSON.stringify(to)) return [];
	const both = [from, to].every((value) => value !== null && typeof value === 'object');
	if (!both || Array.isArray(from) !== Array.isArray(to)) return [{ path: path || '.', from,
		to }];
	const keys = new Set([...Object.keys(from), ...Object.keys(to)]);
	return [...keys].flatMap((key) => differences(from[key], to[key], path ? `${path}.${key}`
		: key));
}

export function Changes({ from, to }) {
	const found = differences(from, to);
	if (found.length === 0) return html`<${Empty} title="Nothing changed." />`;
	return html`<div class="diff mono">${found.slice(0,
		200).map(({ path, from: old, to: fresh }) => html`<strong>${path}</strong>
		<del>${old === undefined ? '' : JSON.stringify(old)}</del><ins>
			${fresh === undefined ? '' : JSON.stringify(fresh)}</ins>`)}</div>`;
}
