// Stand-ins for what the services talk to, on free ports: Stripe, a mail server, an
// OpenTelemetry collector. Prints one line of JSON with their addresses, then serves
// what was received:
//   GET  /spans            every span, with its service
//   GET  /logs             how many log records, by service
//   POST /signature        the header Stripe-Signature for the body, secret whsec_test
// Ends when its standard input closes.
import { createRequire } from 'node:module';
import http from 'node:http';
import net from 'node:net';

const require = createRequire(import.meta.url);
const { MockOtlpServer, normalizeTrace, normalizeLogs } = require('@elastic/mockotlpserver');
const { createExpressApp } = require('stripe-stateful-mock');
const MailDev = require('maildev');
const stripe = require('stripe')('sk_test_1');

const host = '127.0.0.1';
const spans = [];
const logs = {};

function freePort() {
	return new Promise((resolve) => {
		const server = net.createServer().listen(0, host, () => {
			const { port } = server.address();
			server.close(() => resolve(port));
		});
	});
}

function serviceOf(resource) {
	return resource.attributes['service.name'];
}

const collector = new MockOtlpServer({
	logLevel: 'fatal', services: ['http'], httpHostname: host, httpPort: 0,
	onTrace: (trace) => {
		for (const resourceSpan of normalizeTrace(trace).resourceSpans) {
			for (const scope of resourceSpan.scopeSpans) {
				for (const span of scope.spans) {
					spans.push({ service: serviceOf(resourceSpan.resource), ...span });
				}
			}
		}
	},
	onLogs: (received) => {
		for (const resourceLog of normalizeLogs(received).resourceLogs) {
			const service = serviceOf(resourceLog.resource);
			for (const scope of resourceLog.scopeLogs) {
				logs[service] = (logs[service] ?? 0) + scope.logRecords.length;
			}
		}
	},
});
await collector.start();

const provider = createExpressApp().listen(0, host);
const [smtp, web] = [await freePort(), await freePort()];
await new Promise((resolve) => {
	new MailDev({ smtp, web, ip: host, silent: true }).listen(resolve);
});

const control = http.createServer((request, response) => {
	let body = '';
	request.on('data', (chunk) => { body += chunk; });
	request.on('end', () => {
		const answers = {
			'/spans': () => spans,
			'/logs': () => logs,
			'/signature': () => stripe.webhooks.generateTestHeaderString({
				payload: body, secret: 'whsec_test',
			}),
		};
		response.end(JSON.stringify(answers[request.url]()));
	});
}).listen(0, host, () => {
	console.log(JSON.stringify({
		control: control.address().port, mail: web,
		stripe: `http://${host}:${provider.address().port}`,
		smtp: `smtp://${host}:${smtp}`, otlp: collector.httpUrl.origin ?? String(collector.httpUrl),
	}));
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
