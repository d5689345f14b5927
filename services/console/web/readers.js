// Subscriptions and projections: who is behind, by how much, and what it fails at.
import { html } from './htm.js';
import { may, post, useData, useList } from './data.js';
import { Act, Ago, Answer, Badge, Card, Code, Empty, Heading, List, Span, State, StreamName, Table,
	Tabs, streamLink } from './ui.js';
import { Wrong } from './problems.js';
import * as format from './format.js';

export function Readers({ query }) {
	const projections = useData('projections', {}, 3000);
	return html`<${Heading} title="Subscriptions and projections"
		note="Who reads the log, and how far he is." />
		<${Wrong} page="readers" bare of=${({ kind }) => !['projection_failed',
			'parked_events'].includes(kind)} />
		<${Card} title="Projections"><${Answer} of=${projections}
			empty=${html`<${Empty} title="No projection is defined." />`}>
			<${Projections} of=${projections} /><//><//>
		${(projections.data ?? []).filter((row) => row.error_position).map((row) => html`<${Failing}
			key=${row.name} of=${row} />`)}
		<${Card} title="Subscriptions" note="a row for each partition"
			tools=${html`<${Tabs} label="Which" current=${query.behind ? 'behind' : 'all'}
				of=${[['all', '#/readers'], ['behind', '#/readers?behind=1']]} />`}>
			<${Subscriptions} behind=${query.behind} key=${query.behind ?? ''} /><//>
		${may.read() && html`<${Parked} />`}`;
}

function lag(row) {
	if (row.lag_events === 0) return html`<span class="zero">0</span>`;
	const far = format.counted(row.lag_positions, 'position', 'positions');
	return html`<span title=${`${far} of the log`}>${format.count(row.lag_events,
		row.lag_capped)}</span>${row.lag_capped ? html` <span class="note">${far}</span>` : ''}`;
}

// A new version that is filled, in place or beside what is read.
function rebuild(row) {
	return row.rebuild && html` <span class=${row.rebuild === 'failed' ? 'hot' : 'note'}
		title=${row.rebuild_error ?? ''}>rebuild ${row.rebuild}, ${row.rebuilt} %</span>`;
}

function Projections({ of }) {
	const act = may.act();
	return html`<${Table} label="Projections" rows=${of.data} rowKey=${(row) => row.name}
		rowClass=${(row) => row.state === 'failed' ? 'error' :
		row.state === 'running' ? '' : 'warning'} columns=${[
		{ head: 'Projection', grow: true, cell: (row) => html`<bdi>${row.name}</bdi>` },
		{ head: 'Mode', cell: (row) => row.mode, fixed: true },
			{ head: 'State', cell: (row) => html`<${State} value=${row.state} />${rebuild(row)}`,
			fixed: true },
		{ head: 'Events behind', num: true, cell: lag },
			{ head: 'Time behind', num: true, cell: (row) => html`<${Span} value=${row.lag} />` },
		{ head: 'Read up to', num: true, cell: (row) => format.count(row.checkpoint) },
		{ head: 'Moved', cell: (row) => html`<${Ago} at=${row.updated_at} />`, fixed: true },
		act && { head: html`<span class="sr">Actions</span>`,
			cell: (row) => html`<div class="tools">
			${row.state === 'paused' || row.state === 'failed'
				? html`<${Act} label="Resume" title=${`Resume ${row.name}`} done=${of.reload}
				act=${() => post('resume-projection',
					{ name: row.name })}>It goes on at event ${row.error_position
					?? row.checkpoint}.<//>` :
				html`<${Act} label="Pause" title=${`Pause ${row.name}`} done=${of.reload}
					act=${() => post('pause-projection', { name: row.name })}>
				It stands still until it is resumed; nothing is lost.<//>`}
			<${Act} label="Rebuild" danger title=${`Rebuild ${row.name}`} done=${of.reload}
				act=${() => post('rebuild-projection', { name: row.name })}>
				Its tables are emptied and filled again from the first event on, in the
					background.<//></div>` }]} />`;
}

function Failing({ of }) {
	const event = useData('projection-event', { position: of.error_position });
	return html`<${Card} title=${`${of.name} fails at position ${of.error_position}`}
		tools=${may.act() && html`<${Act} label="Skip the event" danger
		title=${`Skip event ${of.error_position} for ${of.name}`}
			act=${() => post('skip-event', { name: of.name, position: of.error_position })}>
		The projection will never have handled this event. It goes on with the next.<//>`}>
		<p class="pad hot" dir="auto">${of.last_error}</p>
		<${Answer} of=${event}>${event.data && html`<p class="pad">
			<a href=${`#/streams?event=${event.data.event_id}`}><bdi>${event.data.event_type}</bdi>
			</a>${' of '}<a href=${streamLink(event.data.stream)}><bdi>${event.data.stream}</bdi>
				</a>, <${Ago} at=${event.data.occurred_at} /></p>
			<${Code} value=${event.data.data} label="Event's data" />`}<//><//>`;
}

// By name, or those alone that have something to read, the furthest behind first.
function Subscriptions({ behind }) {
	const of = useList('subscriptions', { behind, max: 50 }, 3000);
	return html`<${List} of=${behind ? { ...of, more: false } : of} label="Subscriptions"
		empty=${behind ? html`<${Empty} title="Nobody is behind." />` : html`<${Empty}
			title="Nobody has subscribed.">event_store.create_subscription() makes one.<//>`}
		rowKey=${(row) => `${row.name} ${row.partition}`} columns=${[
		{ head: 'Subscription', grow: true, cell: (row) => html`<bdi>${row.name}
			</bdi> <span class="note">partition ${row.partition}</span>` },
		{ head: 'Reads', cell: (row) => html`<bdi>${row.stream ?? row.category ?? 'all'}</bdi>
			${row.event_types ? html` <span class="note">${row.event_types.join(', ')}</span>`
			: ''}` },
		{ head: 'Events behind', num: true, cell: lag },
			{ head: 'Time behind', num: true, cell: (row) => html`<${Span} value=${row.lag} />` },
		{ head: 'Read up to', num: true, cell: (row) => format.count(row.checkpoint) },
		{ head: 'Held by', cell: (row) => row.holder_pid
			? html`<${Badge} kind="busy">pid ${row.holder_pid}<//>`
			: html`<span class="muted">nobody</span>`, fixed: true },
		{ head: 'Since', cell: (row) => html`<${Ago} at=${row.active_since} />`, fixed: true },
		may.act() && { head: html`<span class="sr">Actions</span>`,
			cell: (row) => html`<${Act} label="Reset" danger title=${`Reset ${row.name}`}
			done=${of.reload}
			fields=${[{ name: 'position', label: 'Read again from after position',
				value: row.checkpoint, required: true }]}
			act=${({ position }) => post('reset-subscription',
				{ name: row.name, position: +position })}>
			It reads again whatever comes after that position; whoever handles events sees them
				again.<//>` }]} />`;
}

// Events that subscriptions have put aside, because they failed again and again.
function Parked() {
	const list = useList('parked', { max: 50 }, 5000);
	if (list.data?.length === 0) return null;
	return html`<${Card} title="Put aside" note="events that subscriptions could not handle">
		<${List} of=${list} label="Put aside" rowKey=${(row) => row.key}
		rowClass=${() => 'error'} columns=${[
		{ head: 'Subscription', cell: (row) => html`<bdi>${row.subscription}</bdi>` },
		{ head: 'Event', cell: (row) => row.event_id ? html`<a
			href=${`#/streams?event=${row.event_id}`}><bdi>${row.event_type}</bdi></a>`
			: html`<span class="muted">removed</span>` },
		{ head: 'Stream', fixed: true,
			cell: (row) => row.stream && html`<${StreamName} name=${row.stream} />` },
		{ head: 'Error', grow: true,
			cell: (row) => html`<bdi class="cut">${row.error ?? ''}</bdi>` },
		{ head: 'Attempts', num: true, cell: (row) => row.attempts },
		{ head: 'Since', cell: (row) => html`<${Ago} at=${row.parked_at} />`, fixed: true },
		may.act() && { head: html`<span class="sr">Actions</span>`,
			cell: (row) => row.replay ? html`<${Badge} kind="busy">given again<//>`
			: html`<${Act} label="Replay" title=${`Replay it for ${row.subscription}`}
			done=${list.reload} act=${() => post('replay-parked',
				{ name: row.subscription, position: row.position })}>
			Its consumer is given the event again, before what it has still to read.<//>` }]} />
		<//>`;
}
