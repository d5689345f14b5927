// The frame: who is logged in, the menu, the search box, which page is shown, the keys.
import { html, render, useEffect, useLayoutEffect, useRef, useState } from './htm.js';
import { database, findSession, follow, live, logOut, may, paused, session, useStore } from
	'./data.js';
import { databases, lookAt, nameOf, severalDatabases } from './places.js';
import { Badge, Dialog, Dialogs, Trouble, closeDialog } from './ui.js';
import { pageOf } from './problems.js';
import * as format from './format.js';
import { LogIn } from './login.js';
import { Overview } from './overview.js';
import { Find } from './find.js';
import { Story } from './story.js';
import { Streams } from './streams.js';
import { Readers } from './readers.js';
import { Messages } from './messages.js';
import { Dead } from './dead.js';
import { Sagas } from './sagas.js';
import { Flow } from './flow.js';
import { Simulate } from './simulate.js';
import { Shop } from './shop.js';
import { Health } from './health.js';

// name, title, key, component, group
const PAGES = [
	['overview', 'Overview', 'o', Overview, ''],
	['find', 'Find', 'f', Find, ''],
	['story', 'Story', 'y', Story, ''],
	['dead', 'Dead letters', 'd', Dead, 'Mend'],
	['messages', 'Messages', 'm', Messages, 'Mend'],
	['sagas', 'Sagas', 's', Sagas, 'Mend'],
	['readers', 'Subscriptions', 'p', Readers, 'Mend'],
	['streams', 'Streams', 'e', Streams, 'Look'],
	['flow', 'Flow', 'w', Flow, 'Look'],
	['shop', 'Shop', 'h', Shop, 'Look'],
	['simulate', 'Simulate', 'i', Simulate, 'Look'],
	['health', 'Health', 'l', Health, 'Look'],
];

// #/name/part/part?key=value
function readAddress() {
	const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
	const [name, ...parts] = path.split('/').map(decodeURIComponent);
	return { name: name || 'overview', parts,
		query: Object.fromEntries(new URLSearchParams(search)) };
}

export function theme(next) {
	const dark = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
	const current = localStorage.getItem('theme') ?? dark;
	const wanted = next === 'other' ? (current === 'dark' ? 'light' : 'dark') : current;
	if (next === 'other') localStorage.setItem('theme', wanted);
	document.documentElement.dataset.theme = wanted;
	dispatchEvent(new Event('theme'));
	return wanted;
}

function Frame() {
	const who = useStore(session);
	const [address, setAddress] = useState(readAddress());
	const where = useStore(database);
	const [help, setHelp] = useState(false);
	useEffect(() => lookAt(address.query.in), [address]);
	useEffect(() => {
		const change = () => setAddress(readAddress());
		addEventListener('hashchange', change);
		return () => removeEventListener('hashchange', change);
	}, []);
	useKeys(setHelp);
	const place = [address.name, ...address.parts].join('/');
	// Before anything is shown, or it would take the focus from who has pressed a key since.
	useLayoutEffect(() => {
		scrollTo(0, 0);
		document.querySelector('h1')?.focus({ preventScroll: true });
	}, [place]);
	if (who === null) return null;
	if (who === false) return html`<${LogIn} />`;
	const [, , , Page] = PAGES.find(([name]) => name === address.name) ?? PAGES[1];
	return html`<a class="skip" href="#main" onClick=${skip}>Skip to the page</a>
		<div class="frame"><${Bar} who=${who} onHelp=${() => setHelp(true)} /><${Banner} />
			<${Menu} current=${address.name} shop=${who.who.shop} />
			<main id="main" tabindex="-1"><${Page} key=${`${address.name} ${where}`}
				parts=${address.parts} query=${address.query} /></main>
		</div><${Dialogs} place=${place} />
		${help && html`<${Help} onClose=${() => setHelp(false)} />`}`;
}

function skip(event) {
	event.preventDefault();
	document.querySelector('main').focus();
}

function Bar({ who, onHelp }) {
	const [mode, setMode] = useState(document.documentElement.dataset.theme);
	const stopped = useStore(paused);
	const input = useRef();
	const search = (event) => {
		event.preventDefault();
		const text = input.current.value.trim();
		if (text) location.hash = `#/find/${encodeURIComponent(text)}`;
	};
	return html`<header class="bar">
		<a class="brand" href="#/overview"><img src="app/icon.svg" alt="" width="22" height="22"
			/>ecommerce</a>
		<form class="search" role="search" onSubmit=${search}>
			<input ref=${input} id="search" type="search" autocomplete="off" spellcheck="false"
				aria-label="Find any id or name"
					placeholder="Any id or name: order, event, message, saga, trace, stream" />
			<kbd aria-hidden="true">/</kbd></form>
		<div class="end"><${Connection} />${severalDatabases() && html`<${Where} />`}
			<button class="plain" aria-pressed=${stopped} onClick=${() => paused.set(!stopped)}
				title="Stop or go on showing news (.)">${stopped ? 'Go on' : 'Pause'}</button>
			<button class="plain" onClick=${() => setMode(theme('other'))}
				title="Other colours (t)">
				${mode === 'dark' ? 'Light' : 'Dark'}</button>
			<button class="plain" onClick=${onHelp} aria-label="Keys" title="Keys (?)">?</button>
			<span class="note" title="database ${who.who.database}, PostgreSQL ${who.who.server}">
				<bdi>${
				who.who.role}</bdi>${may.act() ? '' : ', looking only'}</span>
			<button class="plain" onClick=${logOut}>Log out</button>
		</div></header>`;
}

// Which of several databases the pages are about; stories and Find are about all.
function Where() {
	const where = useStore(database);
	const choose = (event) => {
		database.set(event.target.value);
		location.hash = location.hash.replace(/[?&]in=[^&]*/, '');
	};
	return html`<label><span class="sr">Database</span><select value=${where} onChange=${choose}>
		${databases().map((one) => html`<option value=${one}>${nameOf(one)}</option>`)}</select>
		</label>`;
}

const CONNECTIONS = {
	live: ['good', 'Live'], paused: ['idle', 'Paused'], down: ['error', 'Database away'],
	lost: ['warning', 'Reconnecting'],
};

function Connection() {
	const { connection } = useStore(live);
	const [kind, text] = CONNECTIONS[connection];
	return html`<span role="status"><${Badge} kind=${kind}>${text}<//></span>`;
}

function Banner() {
	const { connection, at } = useStore(live);
	if (connection !== 'down' && connection !== 'lost') return null;
	return html`<div class="banner" role="alert"><${Badge} kind="warning">${connection === 'down' ?
		'The database does not answer.' : 'The console does not answer.'}<//>
		<span>What you see is ${at ? `from ${format.when(at)}`
			: 'old'}. The page comes back by itself.</span></div>`;
}

function Menu({ current, shop }) {
	const { sample } = useStore(live);
	// what comes live is of the database that has let us in
	const marks = tally(useStore(database) ? [] : sample?.problems ?? []);
	// on a narrow screen it is a line that is longer than the screen
	useEffect(() => document.querySelector('.menu [aria-current]')?.scrollIntoView(
		{ block: 'nearest', inline: 'center' }), [current]);
	return html`<nav class="menu" aria-label="Pages"><div>
		${['', 'Mend', 'Look'].map((group) => html`
		<section>${group && html`<h2>${group}</h2>`}<div class="list">
			${PAGES.filter(([name, , , , of]) => of === group &&
			(name !== 'shop' || shop)).map(([name, title]) => html`<a href="#/${name}"
				aria-current=${name === current ? 'page' : null}>${title}${marks[name] && html`
				<span class="n ${marks[name].kind}"><span aria-hidden="true">
					${marks[name].kind === 'error' ?
					'■' : '▲'}</span> ${marks[name].n}<span class="sr"> ${
					marks[name].n === 1 ? 'problem' : 'problems'}</span></span>`}
						</a>`)}
		</div></section>`)}</div></nav>`;
}

function tally(problems) {
	const marks = {};
	problems.forEach(({ kind, severity }) => {
		const mark = (marks[pageOf(kind)] ??= { n: 0, kind: 'warning' });
		mark.n++;
		if (severity === 'error') mark.kind = 'error';
	});
	return marks;
}

// Letters do something only where nobody is typing.
function useKeys(setHelp) {
	const prefix = useRef(false);
	useEffect(() => {
		const press = (event) => {
			const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
			if (event.key === 'Escape' && typing) event.target.blur();
			if (typing || event.ctrlKey || event.metaKey || event.altKey || !session.get() ||
				document.querySelector('dialog[open]')) return;
			const goes = prefix.current && PAGES.find(([, , key]) => key === event.key);
			prefix.current = event.key === 'g';
			if (goes) location.hash = `#/${goes[0]}`;
			else if (event.key === '/') document.getElementById('search').focus();
			else if (event.key === '?') setHelp(true);
			else if (event.key === 't') theme('other');
			else if (event.key === '.') paused.set(!paused.get());
			else return;
			event.preventDefault();
		};
		addEventListener('keydown', press);
		return () => removeEventListener('keydown', press);
	}, []);
}

function Help({ onClose }) {
	const keys = [['/', 'search'], ['.', 'stop or go on showing news'], ['t', 'other colours'],
		['?', 'this list'], ['Esc', 'leave a field, close a dialog']];
	return html`<${Dialog} title="Keys" onClose=${onClose}><dl class="keys">
		${keys.map(([key, what]) => html`<dt><kbd>${key}</kbd></dt><dd>${what}</dd>`)}
		${PAGES.map(([, title, key]) => html`<dt><kbd>g</kbd> <kbd>${key}</kbd></dt><dd>${title}
			</dd>`)}</dl>
		<div class="buttons"><button onClick=${closeDialog}>Close</button></div><//>`;
}

function Failed({ error }) {
	return html`<div class="login"><${Trouble} error=${error} retry=${begin} /></div>`;
}

async function begin() {
	const root = document.getElementById('app');
	try {
		await findSession();
		if (session.get() === null) session.set(false);
		render(html`<${Frame} />`, root);
		follow();
	} catch (error) {
		render(html`<${Failed} error=${error} />`, root);
	}
}

theme();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => theme());
begin();
