// Takes the pictures of t/gallery/gallery.pl.
import { mkdirSync } from 'node:fs';
import { context, facts, logIn, ok, open, run, show } from './console_browser.mjs';

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

async function gallery() {
	const page = await open();
	await logIn(page, 'operator');
	await page.locator('.bar .badge.good').waitFor();
	for (const scheme of ['light', 'dark']) {
		await page.evaluate((mode) => localStorage.setItem('theme', mode), scheme);
		for (const width of [1440, 390]) {
			const directory = `${pictures}/${amount}/${scheme}-${width}`;
			mkdirSync(directory, { recursive: true });
			await page.setViewportSize({ width, height: 900 });
			await page.goto('about:blank');
			for (const [name, hash] of Object.entries(PAGES)) {
				await show(page, hash);
				await page.locator('.bar .badge.good').waitFor();
				const tall = await page.evaluate(() => document.documentElement.scrollHeight);
				await page.screenshot({ path: `${directory}/${name}.png`, fullPage: tall > 900,
					...(tall > TALLEST ? { clip: { x: 0, y: 0, width, height: TALLEST } } : {}) });
			}
		}
	}
	ok(true, `${amount}: in ${pictures}/${amount}`);
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

await run([gallery, logInPage]);
