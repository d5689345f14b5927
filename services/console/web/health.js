// Mark and holders, ring, duties, sizes, vacuum, settings; verify() when it is wanted.
import { html, useState } from './htm.js';
import { database, get, live, may, post, useData, useStore } from './data.js';
import { Act, Ago, Answer, Badge, Card, Empty, Fields, Heading, State, Table,
	Trouble } from './ui.js';
import { Wrong } from './problems.js';
import * as format from './format.js';

export function Health() {
	const found = useData('health', {}, 5000);
	const carriers = useData('carriers', {}, 5000);
	const sizes = useData('sizes', {}, 5000);
	const where = useStore(database);
	const { sample } = useStore(live);
	// what comes live is of the database that has let us in
	const asked = useData(where && may.watch() ? 'overview' : null, {}, 5000);
	const of = (where ? asked.data : sample)?.overview;
	const data = found.data;
	return html`<${Heading} title="Health" note="The engine room." />
		<${Wrong} page="health" bare />
		${of && html`<${Mark} of=${of} />`}
		<${Answer} of=${found}>${data && html`<div class="grid">
			<${Appenders} rows=${data.appenders} /><${Units} rows=${data.units} /></div>
		<${Sessions} rows=${data.sessions} reload=${found.reload} />`}<//>
		<${Answer} of=${carriers}>${carriers.data?.length > 0
			&& html`<${Carriers} rows=${carriers.data} reload=${carriers.reload} />`}<//>
		<${Verify} />
		${data && html`<${Disks} rows=${data.disks} />`}
		<${Answer} of=${sizes}>${sizes.data && html`<${Ring} rows=${sizes.data.ring} />
			<${Tables} rows=${sizes.data.tables} />`}<//>
		${data && html`<${Settings} rows=${data.settings} />`}`;
}

function Mark({ of }) {
	return html`<${Card} title="High-water mark" note="readers see everything at or below it">
		<${Fields} of=${[['mark', format.count(of.mark)],
			['newest position', format.count(of.position)],
			['above the mark', format.count(of.mark_lag)],
			['held by', of.mark_holder_pid ? `pid ${of.mark_holder_pid}` : 'nobody'],
			['since', html`<${Ago} at=${of.mark_held_since} />`],
			['worker', of.worker_pid ? html`<${Badge} kind="good">pid ${of.worker_pid}<//>`
				: html`<${Badge} kind="error">none<//>`],
			['processes', format.count(of.workers)],
			['database', format.bytes(of.database_bytes)]]} /><//>`;
}

function Appenders({ rows }) {
	return html`<${Card} title="Who appends now"><${Table} label="Who appends now" rows=${rows}
		empty=${html`<${Empty} title="Nobody holds readers back." />`} columns=${[
		{ head: 'Pid', num: true, cell: (row) => row.pid },
		{ head: 'Role', cell: (row) => html`<bdi>${row.usename}</bdi>` },
		{ head: 'Since', cell: (row) => html`<${Ago} at=${row.xact_start} />`, fixed: true },
		{ head: 'From position', num: true, cell: (row) => format.count(row.lowest_position) },
		{ head: 'Statement', grow: true,
			cell: (row) => html`<bdi class="mono cut">${row.query}</bdi>` }]} /><//>`;
}

function Units({ rows }) {
	return html`<${Card} title="Background work that fails or is slow">
		<${Table} label="Background work" rows=${rows}
		empty=${html`<${Empty} title="All goes well." />`}
		rowClass=${(row) => row.failures ? 'error' : ''} columns=${[
		{ head: 'Kind', cell: (row) => row.kind, fixed: true },
		{ head: 'Name', cell: (row) => html`<bdi>${row.name}</bdi> ${row.slow
			? html`<span class="note">slow</span>` : ''}` },
		{ head: 'Failures', num: true, cell: (row) => row.failures },
		{ head: 'Error', grow: true, cell: (row) => html`<bdi class="cut">${row.last_error}
			</bdi>` },
		{ head: 'Again', cell: (row) => html`<${Ago} at=${row.retry_at} />`, fixed: true }]} />
		<//>`;
}

// What others may wait for: who has left a transaction open, and who waits for whose lock.
function Sessions({ rows, reload }) {
	const inTheWay = new Set(rows.flatMap(({ blocked_by: by }) => by ?? []));
	return html`<${Card} title="Open transactions" note="for more than ten seconds">
		<${Table} label="Open transactions" rows=${rows} rowKey=${(row) => row.pid}
		empty=${html`<${Empty} title="None is open for long." />`}
		rowClass=${(row) => inTheWay.has(row.pid) && !row.blocked_by ? 'error' : ''} columns=${[
		{ head: 'Pid', num: true, cell: (row) => row.pid },
		{ head: 'Who', wide: true,
			cell: (row) => html`<bdi>${row.application_name || 'unnamed'}</bdi>
			<span class="note"> of <bdi>${row.usename}</bdi></span>` },
		{ head: 'Begun', cell: (row) => html`<${Ago} at=${row.xact_start} />`, fixed: true },
		{ head: 'Is', cell: (row) => html`${row.state} <span class="note">since <${Ago}
			at=${row.state_since} /></span>`, fixed: true },
		{ head: 'Lock', cell: (row) => row.blocked_by?.length
			? html`<${Badge} kind="warning">waits for ${row.blocked_by.join(', ')}<//>`
			: inTheWay.has(row.pid) ? html`<${Badge} kind="error">others wait for it<//>`
				: html`<span class="muted">–</span>`, fixed: true },
		{ head: 'Last statement', grow: true,
			cell: (row) => html`<bdi class="mono cut">${row.query}</bdi>` },
		may.end() && { head: html`<span class="sr">Actions</span>`, cell: (row) => html`<${Act}
			label="End it" danger title=${`End session ${row.pid}`} done=${reload}
			act=${() => post('end-session', { pid: row.pid, since: row.xact_start })}>
			What it has not committed is taken back, and its client gets an error.<//>` }]} /><//>`;
}

// What goes between this database and others, and to brokers.
function Carriers({ rows, reload }) {
	return html`<${Card} title="Links, bridges, sinks"
		note="what comes from elsewhere, and goes there">
		<${Table} label="Links, bridges, sinks" rows=${rows}
		rowClass=${({ state }) => ['lost', 'failing'].includes(state) ? 'error'
			: state === 'running' ? '' : 'warning'} columns=${[
		{ head: 'Kind', cell: (row) => row.kind, fixed: true },
		{ head: 'Name', wide: true, cell: (row) => html`<bdi>${row.name}</bdi>` },
		{ head: 'Other side', cell: (row) => html`<bdi>${row.other}</bdi>` },
		{ head: 'Is', cell: (row) => html`<${State} value=${row.state} />`, fixed: true },
		{ head: 'Heard of', cell: (row) => html`<${Ago} at=${row.heard_at} />`, fixed: true },
		{ head: 'Error', grow: true, cell: (row) => html`<bdi class="cut">${row.error ?? ''}
			</bdi>` },
		may.act() && { head: html`<span class="sr">Actions</span>`,
			cell: (row) => html`<${Switch} of=${row} reload=${reload} />` }]} /><//>`;
}

// Pauses what is carried, or lets it go on.
function Switch({ of: { kind, name, state }, reload }) {
	const what = kind.split(',')[0];
	const verb = state === 'paused' ? 'Resume' : 'Pause';
	return html`<${Act} label=${verb} title=${`${verb} ${what} ${name}`} done=${reload}
		act=${() => post(`${verb.toLowerCase()}-${what}`, { name })}>${verb === 'Pause'
			? 'Nothing is carried until it is resumed; what waits is kept.'
			: 'What has waited is carried.'}<//>`;
}

function Disks({ rows }) {
	return html`<${Card} title="Disks"><${Table} label="Disks" rows=${rows}
		rowClass=${(row) => row.free < row.total / 20 ? 'error' : ''} columns=${[
		{ head: 'Holds', grow: true, cell: (row) => html`<bdi>${row.holds}</bdi>` },
		{ head: 'Free', num: true, cell: (row) => format.bytes(row.free) },
		{ head: 'Of', num: true, cell: (row) => format.bytes(row.total) },
		{ head: 'Free %', num: true,
			cell: (row) => Math.floor(row.free * 100 / row.total) }]} /><//>`;
}

function Ring({ rows }) {
	return html`<${Card} title="Ring" note="eight tables of messages, in turn">
		<${Table} label="Ring" rows=${rows} columns=${[
		{ head: 'Segment', num: true, cell: (row) => row.segment },
		{ head: 'State', cell: (row) => html`<${State} value=${row.state} />`, fixed: true },
		{ head: 'Since', cell: (row) => html`<${Ago} at=${row.since} />`, fixed: true },
		{ head: 'Messages', num: true, cell: (row) => `${row.messages_estimated ? '~'
			: ''}${format.count(row.messages)}` },
		{ head: 'Size', num: true, cell: (row) => format.bytes(row.bytes) },
		{ head: 'Unread', num: true, cell: (row) => row.unread === null ? '–'
			: `${Math.round(row.unread * 100)} %` },
		{ head: 'Oldest', grow: true,
			cell: (row) => html`<${Ago} at=${row.oldest_sent_at} />` }]} /><//>`;
}

function Tables({ rows }) {
	return html`<${Card} title="Tables" note="largest first">
		<${Table} label="Tables" rows=${rows} columns=${[
		{ head: 'Table', grow: true, cell: (row) => row.name },
		{ head: 'Size', num: true, cell: (row) => format.bytes(row.bytes) },
		{ head: 'Rows', num: true, cell: (row) => row.rows_estimate < 0 ? '–'
			: `~${format.count(row.rows_estimate)}` },
		{ head: 'Dead rows', num: true, cell: (row) => format.count(row.dead_rows) },
		{ head: 'Vacuumed', cell: (row) => html`<${Ago} at=${row.vacuumed_at} />`,
			fixed: true }]} /><//>`;
}

function Settings({ rows }) {
	return html`<${Card}><details><summary>Settings</summary>
		<${Table} label="Settings" rows=${rows} columns=${[
		{ head: 'Setting', cell: (row) => html`<code>${row.name}</code>`, fixed: true },
		{ head: 'Value', num: true, cell: (row) => html`${row.setting} ${row.unit ?? ''}` },
		{ head: 'From', cell: (row) => row.source, fixed: true },
		{ head: 'What it does', grow: true, cell: (row) => row.short_desc }]} /></details><//>`;
}

const PARTS = [['verify-event-store', 'event store'], ['verify-message-bus', 'message bus'],
	['verify-sagas', 'sagas']];

// The checks, one after the other; each says where it is.
function Verify() {
	const [state, setState] = useState({ at: -1, rows: [] });
	const run = async () => {
		let rows = [];
		for (let at = 0; at < PARTS.length; at++) {
			setState({ at, rows, running: true });
			try {
				const found = await get(PARTS[at][0]);
				rows = [...rows, ...found.map((row) => ({ part: PARTS[at][1], ...row }))];
			} catch (error) {
				setState({ at, rows, error });
				return;
			}
		}
		setState({ at: PARTS.length, rows, over: true });
	};
	return html`<${Card} title="Verify"
		note="reads the whole store; takes a while where that is large"
		tools=${html`<button disabled=${state.running} onClick=${run}>
		${state.running ? 'Checking…' : 'Check now'}</button>`}>
		${state.running && html`<div class="pad" role="status">
			<p>Checking the ${PARTS[state.at][1]}: ${state.at + 1} of ${PARTS.length}</p>
			<progress aria-label="Progress" max=${PARTS.length} value=${state.at}></progress>
			</div>`}
		<${Trouble} error=${state.error} />
		${state.over && state.rows.length === 0
			&& html`<${Empty} title="All is well.">The checks found nothing.<//>`}
		${state.rows.length > 0 && html`<${Table} label="What the checks found" rows=${state.rows}
			columns=${[{ head: 'Severity', cell: (row) => html`<${Badge}
			kind=${row.severity === 'error' ? 'error' : 'warning'}>${row.severity}<//>`,
			fixed: true },
			{ head: 'Of', cell: (row) => row.part, fixed: true },
				{ head: 'Object', cell: (row) => html`<bdi>${row.object}</bdi>` },
				{ head: 'Problem', grow: true, cell: (row) => row.problem }]} />`}<//>`;
}
