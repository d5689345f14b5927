// Somebody has an id.
import { html, useEffect, useState } from './htm.js';
import { useData } from './data.js';
import { Ago, Answer, Badge, Card, Empty, Heading, Id, Table, endpointLink, storyLink,
	streamLink } from './ui.js';
import { findEverywhere, nameOf, placed, severalDatabases } from './places.js';

// Where a thing that was found is looked at.
function place({ kind, id, correlation_id: story }) {
	if (kind === 'stream') return streamLink(id);
	if (kind === 'endpoint') return endpointLink(id);
	if (kind === 'event') return `#/streams?event=${id}`;
	if (kind === 'event_type') return `#/streams?type=${encodeURIComponent(id)}`;
	if (kind === 'dead_letter') return `#/dead/${encodeURIComponent(id)}`;
	if (kind === 'subscription' || kind === 'projection') return '#/readers';
	if (kind === 'saga' && !story) return `#/sagas/${encodeURIComponent(id)}`;
	return story ? storyLink(story) : null;
}

export function Find({ parts }) {
	const [text, setText] = useState(parts[0] ?? '');
	useEffect(() => setText(parts[0] ?? ''), [parts[0]]);
	const found = useData(parts[0] ? 'find' : null, { id: parts[0] }, undefined,
		findEverywhere);
	const stories = new Set((found.data ?? []).map((row) => row.correlation_id).filter(Boolean));
	const submit = (event) => {
		event.preventDefault();
		if (text.trim()) location.hash = `#/find/${encodeURIComponent(text.trim())}`;
	};
	return html`<${Heading} title="Find"
		note="An id of an order, event, message, correlation, saga or trace; a stream, endpoint,
			type or reader by the beginning of its name; a position." />
		<form class="filter" onSubmit=${submit}>
			<input type="search" class="text long" value=${text}
			aria-label="What to find" spellcheck="false"
				onInput=${(event) => setText(event.target.value)} />
			<button class="primary">Find</button></form>
		${parts[0] && html`<${Card} title="Found" note=${parts[0]}>
			${stories.size === 1 && html`<p class="pad">All of it belongs to one process:
				<a href=${storyLink([...stories][0])}>open its story</a></p>`}
			<${Answer} of=${found} empty=${html`<${Empty} title="Nothing has that id or name.">
				Old messages are forgotten when they are settled; events stay.<//>`}>
				<${Table} label="Found" rows=${found.data} columns=${[
					{ head: 'What', cell: (row) => html`<${Badge}>${row.kind.replace('_', ' ')}
						<//>`, fixed: true },
					{ head: 'Id or name', grow: true, cell: (row) => {
						const href = placed(place(row), row.where);
						return href ? html`<a class="mono" href=${href}><bdi>${row.id}</bdi></a>` :
							html`<bdi class="mono">${row.id}</bdi>`;
					} },
					{ head: 'Is now', wide: true,
						cell: (row) => html`<bdi>${row.label ?? ''}</bdi>` },
					{ head: 'Story', cell: (row) => html`<${Id} value=${row.correlation_id}
						to=${storyLink(row.correlation_id)} />` },
					...severalDatabases() ? [{ head: 'Database', fixed: true,
						cell: (row) => html`<bdi>${nameOf(row.where)}</bdi>` }] : [],
					{ head: 'When', cell: (row) => html`<${Ago} at=${row.at} />`, fixed: true },
				]} /><//>
			${(found.data?.silent ?? []).map(({ name, error }) => html`<p class="pad">
				<${Badge} kind="warning">not asked<//> <bdi>${name}: ${error.message}</bdi></p>`)}
			<//>`}`;
}
