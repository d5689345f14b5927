// Is anything wrong now, since when, and where to go.
import { html, useState } from './htm.js';
import { database, live, may, useData, useStore } from './data.js';
import { Ago, Badge, Card, Empty, Fields, Figure, Heading, Loading, Span, Table, Trouble,
	storyLink } from './ui.js';
import { Chart } from './chart.js';
import { Problems } from './problems.js';
import { databases, everywhere, nameOf, placed, severalDatabases } from './places.js';
import * as format from './format.js';

export function Overview() {
	const where = useStore(database);
	const news = useStore(live).sample;
	const sample = where ? null : news;
	const asked = useData(may.watch() && !sample ? 'overview' : null, {}, 5000);
	const [range, setRange] = useState('10m');
	const found = sample ?? asked.data;
	if (!may.watch()) {
		return html`<${Heading} title="Overview" /><${Card}>
			<${Empty} title="Your role may not see counts.">
			A member of ecommerce_monitor or ecommerce_reader may.<//><//>`;
	}
	if (!found) {
		return html`<${Heading} title="Overview" />
			<${Trouble} error=${asked.error} retry=${asked.reload} />
			${!asked.error && html`<${Loading} />`}`;
	}
	return html`<${Heading} title="Overview" note="What the database says of itself, every two
		seconds."
		/>
		<${Verdict} problems=${found.problems} />
		${found.problems.length > 0 && html`<${Problems} of=${found.problems} />`}
		${severalDatabases() && html`<${Databases} current=${where} />`}
		${found.overview.depth !== null && html`<${Figures} of=${found.overview} />`}
		<${Work} of=${found.overview} range=${range} setRange=${setRange}
			charts=${where === ''} />`;
}

// Is anything wrong in one of the others?
function Databases({ current }) {
	const all = useData('overview', {}, 10000, everywhere);
	const rows = all.data ?? databases().map((where) => ({ where }));
	const figure = (name) => ({ data }) => (data ? format.count(data.overview[name]) : '');
	return html`<${Card} title="Databases" note="each as the same role">
		<${Table} label="Databases" rows=${rows} rowKey=${({ where }) => where}
			rowClass=${({ where }) => (where === current ? 'chosen' : '')} columns=${[
			{ head: 'Database', grow: true, cell: ({ where }) => html`<a
				href=${placed('#/overview', where)}><bdi>${nameOf(where)}</bdi></a>` },
			{ head: 'Is', cell: (row) => html`<${Standing} of=${row} />`, fixed: true },
			{ head: 'Waiting', num: true, cell: figure('depth') },
			{ head: 'Dead letters', num: true, cell: figure('dead') },
			{ head: 'Sagas stuck', num: true, cell: figure('stuck') }]} /><//>`;
}

function Standing({ of: { data, error } }) {
	if (error) return html`<${Badge} kind="error">away<//> <bdi>${error.message}</bdi>`;
	if (!data) return html`<span class="muted">asking…</span>`;
	const { problems_error: errors, problems_warning: warnings } = data.overview;
	const kind = errors ? 'error' : warnings ? 'warning' : 'good';
	return html`<${Badge} kind=${kind}>${errors + warnings
		? format.counted(errors + warnings, 'problem', 'problems') : 'well'}<//>`;
}

function Verdict({ problems }) {
	const errors = problems.filter(({ severity }) => severity === 'error').length;
	const kind = errors ? 'error' : problems.length ? 'warning' : 'good';
	const warnings = problems.length - errors;
	const parts = [errors && format.counted(errors, 'needs somebody now', 'need somebody now'),
		warnings && `${warnings} can wait a little`].filter(Boolean);
	return html`<section class="verdict ${kind}" aria-live="polite">
		<span class="shape" aria-hidden="true">${
		{ error: '■', warning: '▲', good: '●' }[kind]}</span>
		<h2>${parts.length ? `${parts.join(', ')}.` : 'All is well.'}</h2></section>`;
}

// The oldest event that a reader has not read.
function worst(of) {
	return [of.worst_lag, of.worst_projection_lag].filter(Boolean)
		.sort((a, b) => format.interval(b) - format.interval(a))[0] ?? 'PT0S';
}

function Figures({ of }) {
	return html`<section class="figures" aria-label="Figures">
		<${Figure} name="Sent" value=${format.rate(of.sent_per_s)} below="per second"
			href="#/messages" />
		<${Figure} name="Handled" value=${format.rate(of.acked_per_s)} below="per second"
			href="#/messages" />
		<${Figure} name="Waiting" value=${format.count(of.depth)} below=${html`oldest <${Span}
			value=${of.oldest_unacked_age} />`} href="#/messages" />
		<${Figure} name="Dead letters" value=${format.count(of.dead, of.dead_capped)} href="#/dead"
			kind=${of.dead ? 'error' : ''} below=${of.dead
				? html`newest <${Ago} at=${of.newest_dead_at} />` : 'none'} />
		<${Figure} name="Sagas" value=${format.count(of.sagas_estimate)} href="#/sagas"
			below=${of.sagas_estimate === null ? 'not counted yet' : 'by estimate'} />
		<${Figure} name="Sagas stuck" value=${format.count(of.stuck, of.stuck_capped)}
			href="#/sagas"
			kind=${of.stuck ? 'error' : ''} below=${of.stuck ? 'need somebody' : 'none'} />
		<${Figure} name="Worst lag" href="#/readers"
			value=${html`<${Span} coarse value=${worst(of)} />`}
			below=${of.worst_subscription ?? of.worst_projection ?? 'all caught up'} />
		<${Figure} name="Breakers open" value=${format.count(of.breakers_open)} href="#/messages"
			kind=${of.breakers_open ? 'warning' : ''}
				below=${of.breakers_open ? 'messages are held' : 'none'} />
	</section>`;
}

function Work({ of, range, setRange, charts }) {
	return html`${charts && html`<div class="tools"><h2>Over time</h2><label>
			<span class="sr">Range</span><select value=${range}
			onChange=${(event) => setRange(event.target.value)}>
			<option value="10m">10 minutes</option><option value="2h">2 hours</option>
			<option value="24h">24 hours</option></select></label></div>
		<div class="grid">
		<${Chart} title="Messages" unit="a second" range=${range} key=${`m${range}`} wanted=${[
			{ label: 'sent', name: 'overview_sent_per_s' },
			{ label: 'handled', name: 'overview_acked_per_s' }]} />
		<${Chart} title="Waiting" unit="messages" range=${range} key=${`w${range}`} wanted=${[
			{ label: 'waiting', name: 'overview_depth' },
			{ label: 'dead', name: 'overview_dead' }]} /></div>`}
		<${Card} title="Background work"><${Fields} of=${[
			['worker', of.worker_pid ? html`<${Badge} kind="good">pid ${of.worker_pid}<//>` :
				html`<${Badge} kind="error">none<//>`],
			['processes', format.count(of.workers)],
			['at work, or lately', (of.duties ?? []).join('; ') || 'nothing yet'],
			['readers see up to', format.count(of.mark)],
			['held back', of.mark_lag ? [format.counted(of.mark_lag, 'position', 'positions'),
				of.mark_holder_pid && `by pid ${of.mark_holder_pid}`].filter(Boolean).join(', ')
				: 'nothing'],
			['newest position', format.count(of.position)],
			['streams', format.count(of.streams_estimate)],
			['projections', html`${format.count(of.projections)}${of.projections_failed ? ', ' : ''
				}${of.projections_failed > 0 && html`<span class="hot">${of.projections_failed
				} failed</span>`}`],
			['subscriptions', format.count(of.subscriptions)],
			['database', html`<bdi>${of.database}</bdi>, ${format.bytes(of.database_bytes)}`],
			['extension', `${of.version}${of.in_recovery ? ', on a standby' : ''}`],
		]} /><//>`;
}
