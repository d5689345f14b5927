// What ecommerce.problems says: in words, where each belongs, and on the page where it does.
import { html } from './htm.js';
import { database, live, may, useData, useStore } from './data.js';
import { Ago, Badge, storyLink } from './ui.js';
import * as format from './format.js';

// Which page a problem belongs to.
export function pageOf(kind) {
	if (kind === 'dead_letters') return 'dead';
	if (/^(endpoint|no_consumer|consumer|not_carried|breaker|messages)/.test(kind)) {
		return 'messages';
	}
	if (/^saga/.test(kind)) return 'sagas';
	if (/^(subscription|projection|parked|rebuild)/.test(kind)) return 'readers';
	return 'health';
}

const WORDS = {
	worker_missing: 'background worker missing', worker_refused: 'background worker refused',
	unit_failing: 'background work fails', restore: 'restore under way',
		mark_held: 'readers are held back',
	subscription_behind: 'subscription behind', projection_failed: 'projection has failed',
	projection_retrying: 'projection tries again', projection_paused: 'projection paused',
	projection_lost: 'projection has lost its source', projection_unfed: 'projection is not fed',
	projection_behind: 'projection behind', rebuild_failed: 'rebuild has failed',
	endpoint_paused: 'endpoint paused',
	endpoint_behind: 'endpoint behind', consumer_stuck: 'consumer stands still',
	no_consumer: 'nobody consumes', endpoint_full: 'endpoint full',
	not_carried: 'nobody carries', link_lost: 'link has lost its source',
	link_paused: 'link paused',
	link_unfed: 'link is not fed', bridge_paused: 'bridge paused',
	bridge_unfed: 'bridge is not carried',
	breaker_open: 'circuit breaker open', dead_letters: 'dead letters', saga_stuck: 'sagas stuck',
	parked_events: 'events put aside', ring_large: 'ring large',
	messages_failing: 'handler fails', transaction_long: 'transaction open for long',
	transaction_prepared: 'prepared transaction forgotten', lock_held: 'others wait for a lock',
	tables_locked: 'tables are locked', commits_wait: 'commits wait',
	connections_low: 'connections run out',
	disk_low: 'disk nearly full', slot_behind: 'WAL is kept', archive_failing: 'archiving fails',
	vacuum_behind: 'transaction numbers run out',
	sink_lost: 'sink has lost its place', sink_failing: 'sink gets no events',
	sink_paused: 'sink paused', sink_unfed: 'sink is not fed',
};

// Where a problem is looked at, and what the button says. "So many more" names no object.
function remedy({ kind, detail }) {
	const of = (page, name, label) => [`#/${page}${!detail?.[name] ? ''
		: `${page === 'dead' ? '?endpoint=' : '/'}${encodeURIComponent(detail[name])}`}`, label];
	if (kind === 'dead_letters') return of('dead', 'endpoint', 'Open dead letters');
	if (/^(endpoint|no_consumer|consumer|not_carried|breaker|messages)/.test(kind))
		return of('messages', 'endpoint', 'Open endpoint');
	if (kind === 'subscription_behind') return ['#/readers?behind=1', 'Open subscriptions'];
	if (/^(projection|rebuild)/.test(kind)) return ['#/readers', 'Open projections'];
	if (kind === 'saga_stuck' && detail?.correlation_id)
		return [storyLink(detail.correlation_id), 'Open story'];
	if (/^saga/.test(kind)) return of('sagas', 'saga', 'Open saga');
	if (/^(subscription|parked)/.test(kind)) return ['#/readers', 'Open subscriptions'];
	return ['#/health', 'Open health'];
}

// Only what is the database's own words: an error's may hold a time of the day.
function holdsUp({ kind, holds_up: text }) {
	return /_(behind|held|long)$/.test(kind) ? format.spans(text) : text ?? '';
}

// bare: where they are looked at already.
export function Problems({ of, bare, more }) {
	return html`<section class="card" aria-label="What is wrong"><ul class="problems">
		${of.map((problem) => {
		const [href, label] = remedy(problem);
		return html`<li><${Badge} kind=${problem.severity}>${problem.severity}<//>
			<span class="what"><a href=${href}>
				${WORDS[problem.kind] ?? format.words(problem.kind)}: <bdi>${
				problem.object}</bdi></a></span>
			<span class="since">${problem.since && html`since <${Ago} at=${problem.since} />`}
				</span>
			<span class="rest"><span dir="auto">${holdsUp(problem)}</span>
				${problem.what_to_type && html`<code class="muted">${problem.what_to_type}</code>`}
				</span>${!bare && html`<a class="button go" href=${href}>${label}</a>`}</li>`;
	})}</ul>${more > 0 && html`<div class="more">
		<a href="#/overview">${format.count(more)} more</a></div>`}</section>`;
}

// Those of the database that pages look at; what comes live is of the one that lets people in.
export function useProblems() {
	const where = useStore(database);
	const { sample } = useStore(live);
	const asked = useData(where && may.watch() ? 'overview' : null, {}, 5000);
	return (where ? asked.data : sample)?.problems ?? [];
}

const MOST = 5;

// On a page: what is wrong with what it shows, or with one thing of it.
export function Wrong({ page, of = () => true, bare }) {
	const mine = useProblems().filter((problem) => pageOf(problem.kind) === page && of(problem));
	return html`<div class="answer">${mine.length > 0 && html`<${Problems}
		of=${mine.slice(0, MOST)} bare=${bare} more=${mine.length - MOST} />`}</div>`;
}
