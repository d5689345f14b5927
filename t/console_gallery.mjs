// Takes the pictures of t/gallery/gallery.pl.
import { mkdirSync } from 'node:fs';
import { context, facts, logIn, ok, open, run, show } from './console_browser.mjs';
import { simulate } from './console_simulate.mjs';

const { amount, letter, order, pictures, story } = facts;
const TALLEST = 2400;
const none = '00000000-0000-4000-8000-000000000000';
const PAGES = {
	overview: 'overview', find: `find/${order || 'nothing'}`, stories: 'story',
	story: `story/${story || none}`, streams: 'streams', newest: 'streams?tail=1',
	stream: `streams/order-${order || none}`, state: `streams/order-${order || none}/state`,
	readers: 'readers', messages: 'messages', endpoint: 'messages/payment', dead: 'dead',
	letter: `dead/${letter || none}`, sagas: 'sagas', saga: 'sagas/order',
	instance: `sagas/order/instance/${order || none}`, flow: 'flow', simulate: 'simulate',
	shop: 'shop', stock: 'shop/stock', order: `shop/${order || none}`, health: 'health',
};
// Where what is wrong around the shop can be seen.
const AROUND = { overview: 'overview?in=', find: `find/${order}`, endpoint: 'messages/abroad',
	readers: 'readers', messages: 'messages', health: 'health', other: 'overview?in=audit' };
// What may be done: each asks first.
const DIALOGS = [['send', 'messages/billing', 'Send one'], ['purge', 'messages/billing', 'Purge'],
	['redrive', 'dead', 'Redrive all'], ['patience', 'sagas/order', 'none'],
	['goto', `sagas/order/instance/${order || none}`, 'Go to'], ['skip', 'readers', 'Skip']];
// What somebody who may see counts alone is shown in their place.
const COUNTED = ['overview', 'story', 'stream', 'messages', 'endpoint', 'dead', 'letter',
	'instance', 'readers', 'health'];

async function gallery() {
	const page = await open();
	await logIn(page, 'operator');
	await page.locator('.bar .badge.good').waitFor();
	for (const scheme of ['light', 'dark']) {
		await page.evaluate((mode) => localStorage.setItem('theme', mode), scheme);
		for (const width of [1440, 390]) {
			await page.setViewportSize({ width, height: 900 });
			await page.goto('about:blank');
			for (const [name, hash] of Object.entries(amount === 'around' ? AROUND : PAGES)) {
				await show(page, hash);
				await picture(page, `${scheme}-${width}`, name);
			}
		}
	}
	ok(true, `${amount}: in ${pictures}/${amount}`);
	await page.close();
}

async function picture(page, set, name) {
	const directory = `${pictures}/${amount}/${set}`;
	mkdirSync(directory, { recursive: true });
	await page.locator('.bar .badge.good').waitFor();
	const [tall, width] = await page.evaluate(() => [document.documentElement.scrollHeight,
		innerWidth]);
	await page.screenshot({ path: `${directory}/${name}.png`, fullPage: tall > 900,
		...(tall > TALLEST ? { clip: { x: 0, y: 0, width, height: TALLEST } } : {}) });
}

// Dialogs that are open, light and narrow too.
async function dialogs() {
	if (amount !== 'much') return;
	const page = await open();
	await logIn(page, 'operator');
	for (const width of [1440, 390]) {
		await page.setViewportSize({ width, height: 900 });
		for (const [name, hash, button] of DIALOGS) {
			await page.goto('about:blank');
			await show(page, hash);
			await page.getByRole('button', { name: button }).first().click();
			await page.locator('dialog').waitFor();
			await page.locator('dialog').getByText('Counting…').waitFor({ state: 'detached' });
			await picture(page, `dialogs-${width}`, name);
		}
	}
	await page.close();
}

// A run that breaks an invariant, on its last step.
async function violation() {
	if (amount !== 'little') return;
	const page = await open();
	await logIn(page, 'operator');
	for (const width of [1440, 390]) {
		await page.setViewportSize({ width, height: 900 });
		await page.goto('about:blank');
		await simulate(page);
		const next = page.getByRole('button', { name: 'Next' });
		while (await next.isEnabled()) await next.click();
		await picture(page, `dialogs-${width}`, 'violation');
	}
	await page.close();
}

async function counted() {
	if (amount !== 'little') return;
	const page = await open();
	await logIn(page, 'viewer');
	for (const name of COUNTED) {
		await show(page, PAGES[name]);
		await picture(page, 'monitor', name);
	}
	await page.close();
}

async function logInPage() {
	const page = await open();
	await context.clearCookies();
	await page.goto(`${facts.address}/`);
	await page.waitForSelector('#role');
	await page.screenshot({ path: `${pictures}/${amount}/log-in.png` });
	await page.close();
}

await run([gallery, dialogs, violation, counted, logInPage]);
