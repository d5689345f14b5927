// Sagas: where instances are, which hang, and one instance on its way.
import { html, useState } from './htm.js';
import { may, post, useData, useList } from './data.js';
import { Act, Ago, Answer, Badge, Card, Code, Empty, Fields, Heading, Id, List, Loading, Span,
	State, Table, Tabs, Trouble, endpointLink, storyLink } from './ui.js';
import { commandsOf } from './commands.js';
import { StateMap, parseDiagram } from './statemap.js';
import * as format from './format.js';

export function Sagas({ parts, query }) {
	if (parts[1] === 'instance') return html`<${Instance} saga=${parts[0]} id=${parts[2]} />`;
	return parts[0] ? html`<${Saga} name=${parts[0]} state=${query.state} view=${query.view} />`
		: html`<${All} />`;
}

const sagaLink = (name) => `#/sagas/${encodeURIComponent(name)}`;
// Of a sample; none is none.
const about = (n, estimated) => `${n && estimated ? '~' : ''}${format.count(n)}`;
const instanceLink = (row) => `${sagaLink(row.saga)}/instance/${row.correlation_id}`;

function All() {
	const states = useData('sagas', {}, 5000);
	const stuck = useData('stuck', {}, 3000);
	const sagas = Object.values((states.data ?? []).reduce((all, row) => {
		const saga = (all[row.saga] ??= { saga: row.saga, version: row.definition_version,
			running: 0, done: 0, estimated: false, states: 0 });
		saga[row.kind === 'final' ? 'done' : 'running'] += +row.instances;
		saga.estimated ||= row.estimated;
		saga.states++;
		return all;
	}, {}));
	return html`<${Heading} title="Sagas"
		note="Processes that go over several services: how many are in which state, and which need
			somebody." />
		<${Card} title="Stuck" note="what nothing but somebody will move">
			<${Answer} of=${stuck} empty=${html`<${Empty} title="None is stuck." />`}>
			<${Stuck} rows=${stuck.data} reload=${stuck.reload} /><//><//>
		<${Card} title="Definitions"><${Answer} of=${states}
			empty=${html`<${Empty} title="No saga is defined.">saga.define() defines one.<//>`}>
			<${Table} label="Sagas" rows=${sagas} rowKey=${(row) => row.saga} columns=${[
				{ head: 'Saga', grow: true, cell: (row) => html`<a href=${sagaLink(row.saga)}><bdi>
					${row.saga}</bdi></a>` },
					{ head: 'Version', num: true, cell: (row) => row.version },
				{ head: 'Under way', num: true,
					cell: (row) => about(row.running, row.estimated) },
					{ head: 'Ended', num: true,
					cell: (row) => about(row.done, row.estimated) },
				{ head: 'Stuck', num: true, cell: (row) => {
					const n = (stuck.data ?? []).filter(({ saga }) => saga === row.saga).length;
					return html`<span class=${n ? 'hot' : 'zero'}>${n}${n >= 200 ? '+' : ''}
						</span>`;
				} }, { head: 'States', num: true, cell: (row) => row.states }]} /><//><//>`;
}

function Stuck({ rows, reload }) {
	return html`<${Table} label="Stuck sagas" rows=${rows} rowClass=${() => 'error'} columns=${[
		{ head: 'Why', cell: (row) => html`<${Badge} kind="error">${format.words(row.reason)}<//>`,
			fixed: true }, { head: 'Saga', cell: (row) => html`<a href=${sagaLink(row.saga)}><bdi>
			${row.saga}</bdi></a>` },
		{ head: 'State', cell: (row) => html`<bdi>${row.current_state}</bdi>` },
			{ head: 'Since', cell: (row) => html`<${Ago} at=${row.since} />`, fixed: true },
		{ head: 'Error, and what mends it', grow: true,
			cell: (row) => html`<bdi class="cut">${row.last_error ?? row.error ?? ''}</bdi>
			${row.what_to_type && html`<code class="muted cut" title=${row.what_to_type}>
				${row.what_to_type}</code>`}` },
		{ head: 'Story', cell: (row) => html`<${Id} value=${row.correlation_id}
			to=${storyLink(row.correlation_id)} />` },
		may.act() && { head: html`<span class="sr">Actions</span>`,
			cell: (row) => html`<div class="tools"><${Retry} of=${row} reload=${reload} />
			</div>` }]} />`;
}

function Retry({ of, reload }) {
	return html`<${Act} label="Retry" title=${`Retry ${of.saga}`} done=${reload}
		act=${() => post('retry-saga', { saga: of.saga, id: of.correlation_id })}>
		What it is owed is asked for again, and its dead letters are redriven.<//>`;
}

function Saga({ name, state, view }) {
	const about = useData('saga-diagram', { saga: name });
	const states = useData('sagas', {}, 5000);
	const mine = (states.data ?? []).filter((row) => row.saga === name);
	const counts = {};
	mine.forEach((row) => {
		counts[row.state] = (counts[row.state] ?? 0) + +row.instances;
	});
	const shown = Object.fromEntries(Object.entries(counts).map(([key, n]) => [key, n
		? format.count(n) : '']));
	const tab = view ?? 'diagram';
	return html`<${Heading} title=${name} note=${about.data ? `Saga, version ${about.data.version}`
		: 'Saga'} />
		<${Tabs} label="Views of the saga" current=${tab}
			of=${[['diagram', sagaLink(name)],
			['transitions', `${sagaLink(name)}?view=transitions`],
			['definition', `${sagaLink(name)}?view=definition`],
			['problems', `${sagaLink(name)}?view=problems`]]} />
		${tab === 'problems' ? html`<${Problems} name=${name} />`
			: html`<${Card}><${Answer} of=${about}>${about.data && (tab === 'transitions' ?
			html`<${Transitions} text=${about.data.diagram} />` : tab === 'definition'
				? html`<${Code} value=${about.data.definition} label="Definition" />` :
			html`<${StateMap} text=${about.data.diagram}  counts=${shown}
				here=${state} label="States of the saga"
				href=${(of) => `${sagaLink(name)}?state=${encodeURIComponent(of)}`} />`)}<//><//>`}
		<div class="split even"><${Instances} name=${name} state=${state} />
			<${States} name=${name} rows=${mine} reload=${states.reload} chosen=${state} /></div>`;
}

function Transitions({ text }) {
	return html`<${Table} label="Transitions" rows=${parseDiagram(text)}
		columns=${[{ head: 'From', cell: (row) => row.from === '[*]' ? 'start' : row.from },
		{ head: 'To', cell: (row) => row.to === row.from ? html`<span class="muted">stays</span>`
		: row.to },
		{ head: 'On', grow: true, cell: (row) => html`<bdi>${row.label}</bdi>` }]} />`;
}

function Problems({ name }) {
	const found = useData('saga-problems', { saga: name });
	return html`<${Card}><${Answer} of=${found}
		empty=${html`<${Empty} title="The definition has no problem." />`}>
		<${Table} label="Problems" rows=${found.data ?? []} columns=${[
		{ head: 'Severity', cell: (row) => html`<${Badge} kind=${row.severity}>${row.severity}<//>`,
			fixed: true }, { head: 'State', cell: (row) => row.state ?? '–' },
			{ head: 'Event', cell: (row) => row.event ?? '–' },
		{ head: 'Problem', grow: true, cell: (row) => row.problem }]} /><//><//>`;
}

function States({ name, rows, reload, chosen }) {
	return html`<${Card} title="States"><${Table} label="States" rows=${rows}
		rowClass=${(row) => row.state === chosen ? 'chosen' : ''} columns=${[
		{ head: 'State', grow: true, cell: (row) => html`<a
			href=${`${sagaLink(name)}?state=${encodeURIComponent(row.state)}`}>${row.state}
			</a> ${row.kind === 'final' ? html`<span class="note">final</span>` : ''}` },
		{ head: 'Instances', num: true, cell: (row) => html`<span
			class=${+row.instances ? '' : 'zero'}>
			${about(+row.instances, row.estimated)}</span>` },
		{ head: 'Longest', num: true, cell: (row) => html`<${Span} value=${row.longest} />` },
		may.act() && { head: 'Patience', num: true, cell: (row) => row.kind === 'final' ? ''
			: html`<${Act} label=${row.patience ? format.duration(format.interval(row.patience))
			: 'none'} confirm="Set"
			title=${`Patience with ${row.state}`} done=${reload}
				fields=${[{ name: 'longest', label: 'Stuck after (such as 2 hours; empty: never)',
				value: row.patience ?? '' }]}
			act=${({ longest }) => post('set-patience',
				{ saga: name, state: row.state,
				longest: longest
				|| null })}>An instance that is longer in this state counts as stuck.<//>` }]} />
				<//>`;
}

function Instances({ name, state }) {
	const list = useList('saga-instances', { saga: name, state, max: 50 }, 5000);
	return html`<${Card} title=${state ? `Instances in ${state}` : 'Instances'}
		tools=${state && html`<a href=${sagaLink(name)}>All states</a>`}>
		<${List} of=${list} label="Instances" rowKey=${(row) => row.correlation_id}
			rowClass=${(row) => row.stuck_reason ? 'error' : ''}
			empty=${html`<${Empty} title=${state ? `None is in ${state}.` : 'No instance yet.'} />`}
			columns=${[
			{ head: 'Instance', grow: true, cell: (row) => html`<${Id} value=${row.correlation_id}
				to=${instanceLink(row)} /> ${row.stuck_reason
				? html`<${Badge} kind="error">${format.words(row.stuck_reason)}<//>` : ''}` },
			{ head: 'State', cell: (row) => html`<bdi>${row.current_state}</bdi>` },
				{ head: 'For', num: true, cell: (row) => html`<${Span} value=${row.age_in_state}
				/>` },
			{ head: 'Next timer', cell: (row) => row.next_timer
				? html`${row.next_timer} <${Ago} at=${row.next_timer_at} />`
				: html`<span class="muted">none</span>`, fixed: true },
			{ head: 'Story', cell: (row) => html`<a
				href=${storyLink(row.correlation_id)}>story</a>`, fixed: true }]} /><//>`;
}

function Instance({ saga, id }) {
	const found = useData('saga-instance', { saga, id }, 'events');
	const about = useData('saga-diagram', { saga });
	const stuck = useData('stuck', {}, 5000);
	const data = found.data;
	const one = data?.instance;
	const problem = (stuck.data ?? []).find((row) => row.saga === saga
		&& row.correlation_id === id);
	const way = (data?.history ?? []).map(({ to_state: to }) => to).filter((state, i, all) => state
		&& state !== all[i - 1]);
	const state = one?.current_state ?? (!data ? 'an instance' : data.history.length
		? 'gone' : 'no such instance');
	return html`<${Heading} title=${`${saga}: ${state}`}
		note=${html`Instance <span class="id">${id}
		</span>, <a href=${storyLink(id)}>its story</a>`}>
			${one && may.act() && html`<${Tools} of=${one} versions=${about.data?.versions}
				reload=${found.reload} />`}<//>
		<${Trouble} error=${found.error} retry=${found.reload} />
			${found.loading && !data && html`<${Loading} />`}
		${problem && html`<section class="verdict error">
			<span class="shape" aria-hidden="true">■</span><div>
			<h2>Stuck: ${format.words(problem.reason)}, since <${Ago} at=${problem.since} /></h2>
			<p dir="auto">${problem.last_error ?? problem.error}</p></div></section>`}
		${data && !one && data.history.length === 0 && html`<${Card}>
			<${Empty} title="There is no such instance."><a href=${sagaLink(saga)}>All of ${saga}
			</a><//><//>`}
		${one && html`<${Card}><${Fields} of=${[['state', one.current_state],
			['since', html`<${Span} value=${one.age_in_state} />`],
			['definition', `version ${one.definition_version}`], ['transitions', one.version],
			['created', html`<${Ago} at=${one.created_at} />`],
				['moved', html`<${Ago} at=${one.updated_at} />`],
				...data.timers.map((timer) => [`timer ${timer.timer}`,
				html`<${Ago} at=${timer.due_at} />`]),
			...data.parked.map((parked) => ['waits for it',
				html`${parked.message_type}, until <${Ago} at=${parked.park_until} />`])]} /><//>`}
		${one && about.data && html`<${Card} title="Its way" note="where it went is drawn thick">
			<${StateMap} text=${about.data.diagram}  way=${way}
			here=${one.current_state} stuck=${problem} label="Its way through the states" /><//>`}
		${one && about.data && html`<${Commands} id=${id} of=${data}
			definition=${about.data.definition} />`}
		${data && data.history.length > 0 && html`<${History} rows=${data.history} />`}
		${one && html`<${Card} title="Data">${one.data === null
			? html`<${Empty} title="Your role may not see it." />`
			: html`<${Code} value=${one.data} label="Data" />`}<//>`}`;
}

function Commands({ id, of, definition }) {
	const story = useData('story', { id, max: 500 }, 'events');
	return html`<${Card} title="Commands" note="outstanding first"><${Answer} of=${story}>
		<${Table} label="Commands" rows=${commandsOf(story.data?.entries ?? [], of, definition)}
		rowKey=${(row) => row.id} rowClass=${(row) => row.hangs ? 'error' : ''}
		empty=${html`<${Empty} title="It has sent nothing that is still known." />`} columns=${[
		{ head: 'Command', grow: true, cell: (row) => html`<bdi>${row.name}</bdi>` },
		{ head: 'To', cell: (row) => html`<a href=${endpointLink(row.lane)}><bdi>${row.lane}
			</bdi></a>` },
		{ head: 'Sent', cell: (row) => html`<${Ago} at=${row.at} />`, fixed: true },
		{ head: 'State', cell: (row) => html`<${State} value=${row.state} />`, fixed: true },
		{ head: 'Answer', cell: (row) => row.open ? html`<${Badge} kind="busy">outstanding<//>`
			: html`<bdi class=${row.answer ? '' : 'muted'}>${answerTo(row)}</bdi>` }]} />
		<//><//>`;
}

const answerTo = ({ answer, mute, again }) => answer ?? (mute ? 'none is awaited'
	: again ? 'sent again' : '–');

function History({ rows }) {
	return html`<${Card} title="History" note=${rows.length >= 200 ? 'the last 200 transitions'
		: ''}><${Table} label="History" rows=${[...rows].reverse()} rowKey=${(row) => row.version}
		columns=${[
		{ head: 'No.', num: true, cell: (row) => row.version },
			{ head: 'When', cell: (row) => html`<${Ago} at=${row.at} />`, fixed: true },
			{ head: 'On', cell: (row) => html`<bdi>${row.event}</bdi>` },
		{ head: 'To', cell: (row) => row.to_state === row.from_state
			? html`<span class="muted">stays</span>`
			: html`<bdi>${row.to_state ?? 'deleted'}</bdi>` },
		{ head: 'Did', grow: true, cell: (row) => html`<bdi>${did(row.actions)}</bdi>` },
			{ head: 'By', cell: (row) => row.actor
			? html`<bdi title=${row.reason ?? ''}>${row.actor}</bdi>`
			: html`<span class="muted">engine</span>` }]} /><//>`;
}

function did(actions) {
	if (!actions) return '(not for your role)';
	return actions.filter(({ action }) => action !== 'data'
		&& action !== 'fact').map((one) => [one.action,
		one.type ?? one.message_type ?? one.timer ?? one.command ?? one.step ?? one.why
		?? ''].join(' ').trim()).join(', ');
}

function Tools({ of, versions, reload }) {
	const { saga, correlation_id: id } = of;
	return html`<${Retry} of=${of} reload=${reload} />
		<${Act} label="Go to" title="Move it to a state" danger done=${reload}
			fields=${[{ name: 'state', label: 'State', required: true },
			{ name: 'reason', label: 'Reason', required: true }]}
			act=${(values) => post('goto-saga',
				{ saga, id,
				...values })}>The rules of that state apply at once. The reason is kept in its
					history.<//>
		<${Act} label="Cancel" title="Cancel it" danger done=${reload}
			fields=${[{ name: 'reason', label: 'Reason', required: true }]}
			act=${({ reason }) => post('cancel-saga', { saga, id, reason })}>
			What it has done so far is undone, as its definition says.<//>
		${versions?.some((version) => version !== of.definition_version)
			&& html`<${Act} label="Migrate" title="Move it to another version" done=${reload}
			fields=${[{ name: 'version', label: 'Version', value: versions[0], required: true }]}
			act=${({ version }) => post('migrate-saga',
				{ saga, id, version: +version })}>That version's rules apply at once.<//>`}`;
}
