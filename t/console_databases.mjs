// What a browser shows of an order that goes through five databases; see
// 136_console_databases.pl.
import { facts, is, logIn, ok, open, please, run, settled, show } from './console_browser.mjs';

const { order, hanging, others, pictures } = facts;
const places = ['order', ...others];

async function story() {
	const page = await open();
	await page.setViewportSize({ width: 1600, height: 1000 });
	await logIn(page, 'operator');
	await show(page, `story/${order}`);
	const rows = await page.locator('main table').first().locator('tbody tr').allTextContents();
	for (const place of places) {
		ok(rows.some((row) => row.includes(`${place}: `)), `the story tells of ${place}`);
	}
	for (const what of ['OrderSubmitted', 'ReserveInventory', 'PaymentProcessed']) {
		ok(rows.some((row) => row.includes(what)), `and of ${what}`);
	}
	// What has come over a link hangs below what left.
	const depths = await page.evaluate(() => [...document.querySelectorAll('main .tree')].map(
		(tree) => [tree.textContent.replace(/└/, '').trim(),
			parseInt(tree.querySelector('.twig').style.paddingLeft || '0', 10),
			tree.closest('tr').textContent]));
	for (const [what, where] of [['ReserveInventory', 'inventory: inventory'],
		['ProcessPayment', 'payment: payment'], ['PaymentProcessed', 'order: order'],
		['ArrangeShipment', 'shipping: shipping'], ['ShipmentArranged', 'order: order']]) {
		ok(depths.some(([name, depth, row]) => name === what && depth > 0
			&& row.includes(where)), `${what} has come to ${where}`);
	}
	ok(await page.getByText('away does not tell').isVisible(), 'the one that is away is named');
	await page.screenshot({ path: `${pictures}/story-of-five.png`, fullPage: true });
	await page.close();
}

async function hangs() {
	const page = await open();
	await logIn(page, 'operator');
	await show(page, `story/${hanging}`);
	await page.locator('.verdict.error', { hasText: 'payment: payment' }).waitFor();
	ok(true, 'it hangs in the database of the payments');
	await page.getByRole('link', { name: 'Open payment' }).first().click();
	await page.locator('.bar select').waitFor();
	await settled(page);
	is(await page.locator('.bar select').inputValue(), 'payment', 'the button leads there');
	ok((await page.textContent('main')).includes('paused'), 'where it is seen to be paused');
	await please('resume');
	await page.close();
}

async function find() {
	const page = await open();
	await logIn(page, 'operator');
	await show(page, `find/${hanging}`);
	ok(await page.locator('main a[href^="#/story/"]').first().isVisible(),
		'Find leads to its story');
	await show(page, 'find/to-order');
	const rows = await page.locator('main tbody tr').allTextContents();
	is(rows.length, others.length, 'Find looks everywhere');
	others.forEach((place) => ok(rows.some((row) => row.includes(place)), `and says so: ${place}`));
	await show(page, 'overview');
	const table = page.locator('section.card', { hasText: 'each as the same role' });
	await table.getByText('well').first().waitFor();
	is(await table.locator('tbody tr').count(), places.length + 1, 'Overview has a line for each');
	ok(await table.locator('tr', { hasText: 'away' }).locator('.badge.error').isVisible(),
		'and says which is away');
	await table.getByRole('link', { name: 'shipping' }).click();
	await settled(page);
	await page.locator('main').getByText('shop_shipping').first().waitFor();
	ok(true, 'and one can look at each');
	await page.close();
}

await run([story, hangs, find]);
