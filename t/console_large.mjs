// Looks at every list of a large store, and at what comes after its first page, for
// 134_console_large.pl.
import { facts, is, logIn, ok, open, run, settled, show, tell } from './console_browser.mjs';

const { full, id, instance, letter } = facts;

// Address, and the list that can be gone on with; none: there is no such list there.
const LISTS = [
	['overview'], ['find/order'], [`find/${id}`], [`story/${id}`], ['story', 'Moving lately'],
	['streams', 'Streams'], ['streams?category=order', 'Streams'],
	['streams?category=order&prefix=order-0000'], ['streams?tail=1', 'Newest events'],
	['streams?tail=1&category=order', 'Newest events'], ['streams?tail=1&type=Rare'],
	['readers', 'Subscriptions'], ['readers?behind=1'], ['messages', 'Endpoints'],
	['messages/backlog', 'Messages'],
	['messages/backlog?state=waiting', 'Messages'], ['messages/failing'],
	['dead', 'Dead letters'], ['dead?endpoint=failing', 'Dead letters'],
	['dead?endpoint=failing&message_type=Fail1&reason=fault&error_code=code1', 'Dead letters'],
	['dead?error=nowhere'], [`dead/${letter}?endpoint=failing`],
	['sagas'], ['sagas/big', 'Instances'], ['sagas/big?state=Working', 'Instances'],
	[`sagas/big/instance/${instance}`], ['flow'], ['simulate'], ['shop', 'Orders'],
	['shop?status=Cancelled', 'Orders'], ['shop/stock', 'Stock'], ['health'],
];

async function lists() {
	const page = await open();
	await logIn(page, 'operator');
	for (const [hash, list] of LISTS) {
		await show(page, hash);
		const refused = await page.locator('main .trouble').allTextContents();
		is(refused.join(' '), '', `${hash}: nothing is refused`);
		if (list) await goOn(page, hash, list);
	}
	await page.close();
}

// The next page comes after the first one.
async function goOn(page, hash, list) {
	const rows = page.locator(`main [aria-label="${list}"] tbody tr`);
	await rows.first().waitFor();
	const before = await rows.count();
	ok(before >= full / 2, `${hash}: ${before} rows`);
	await page.locator('main .card', { has: page.locator(`[aria-label="${list}"]`) }).last()
		.getByRole('button', { name: 'Show more' }).click();
	await page.waitForFunction(([name, n]) => document.querySelectorAll(
		`main [aria-label="${name}"] tbody tr`).length > n, [list, before]);
	await settled(page);
	ok(await rows.count() > before, `${hash}: then ${await rows.count()}`);
}

tell('# looking at large lists');
await run([lists]);
