// A browser for the tests of the console: it reads from its input where the console is and who
// may log in, as a line of JSON, tells what it finds in lines of TAP, and asks for what only
// the test can do ("do stop server"). Console.pm is the other end.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const PATIENCE = 120000;
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export const facts = JSON.parse((await input.next()).value);
const { address, password, pictures, profile } = facts;

export const tell = (line) => process.stdout.write(`${String(line).replace(/\n/g, ' ')}\n`);
export const ok = (good, what) => tell(`${good ? '' : 'not '}ok ${what}`);
export const is = (got, expected, what) => {
	ok(got === expected, what);
	if (got !== expected) tell(`# ${what}: ${JSON.stringify(got)}, expected ${JSON.stringify(
		expected)}`);
};

// What the test answers, once it has done it.
export async function please(duty) {
	tell(`do ${duty}`);
	return JSON.parse((await input.next()).value);
}

export const context = await chromium.launchPersistentContext(profile, {
	executablePath: '/usr/bin/chromium', colorScheme: 'light', reducedMotion: 'reduce',
	viewport: { width: 1280, height: 800 }, bypassCSP: false,
	args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
		'--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
context.setDefaultTimeout(PATIENCE);
const reports = [];
const failures = [];
const strangers = [];
await context.exposeFunction('report', (report) => reports.push(report));
await context.addInitScript(() => {
	addEventListener('securitypolicyviolation', (event) => window.report(
		`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
});

// A page that tells of everything that goes wrong in it.
export async function open(at = address) {
	const page = await context.newPage();
	page.on('pageerror', (error) => failures.push(error.stack));
	page.on('request', (request) => request.url().startsWith(at)
		|| strangers.push(request.url()));
	return page;
}

export async function logIn(page, role, at = address) {
	await context.clearCookies();
	await page.goto(`${at}/`);
	await page.fill('#role', role);
	await page.fill('input[type=password]', password[role]);
	await page.keyboard.press('Enter');
	await page.waitForSelector('.frame');
}

// Shows a page of the console, complete: nothing is being loaded any more.
export async function show(page, hash) {
	await page.goto(`${address}/#/${hash}`);
	await settled(page);
}

export async function settled(page) {
	await page.waitForFunction(() => document.querySelector('main h1') &&
		!document.querySelector('.loading'), undefined, { polling: 100 });
}

// Runs the parts one after the other, whatever becomes of one, and ends.
export async function run(parts) {
	for (const part of parts) {
		try {
			await part();
		} catch (error) {
			ok(false, `${part.name}: ${error.stack}`);
			const pages = context.pages();
			await pages[pages.length - 1].screenshot(
				{ path: `${pictures}/failed-${part.name}.png` });
		}
	}
	is(reports.length, 0, 'no page has broken its content security policy');
	reports.slice(0, 5).forEach((report) => tell(`# ${report}`));
	is(failures.length, 0, 'no script has failed');
	failures.slice(0, 5).forEach((failure) => tell(`# ${failure}`));
	is(strangers.length, 0, 'nobody else was asked for anything');
	await context.close();
	process.exit(0);
}
