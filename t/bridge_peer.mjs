// Foreign programs at a broker: what they send and get, in the formats they speak. None of
// them knows of a bridge.
//   bridge_peer.mjs URL declare JSON         makes {"exchanges": [[name, type]],
//                                            "queues": {name: [[exchange, key]]}, "arguments": {}}
//   bridge_peer.mjs URL publish              sends lines {"exchange", "key", "body", "options"};
//                                            prints how many the broker has confirmed
//   bridge_peer.mjs URL consume QUEUE COUNT  prints {"key", "properties", "headers", "body"}
//   bridge_peer.mjs URL drain QUEUE          prints the bodies of all that is there
//   bridge_peer.mjs URL ready QUEUE          prints how many nobody has been given
//   bridge_peer.mjs URL ask COUNT            a client of MassTransit's: requests SubmitOrder,
//                                            prints the answers
//   bridge_peer.mjs URL answer QUEUE COUNT   a consumer of MassTransit's: answers what comes
//   bridge_peer.mjs URL event TYPE DATA MODE EXCHANGE KEY
//                                            sends a CloudEvent, made by its SDK
//   bridge_peer.mjs URL events QUEUE COUNT   reads CloudEvents with their SDK
import {randomUUID} from 'node:crypto';
import {createInterface} from 'node:readline';
import amqp from 'amqplib';
import {CloudEvent, HTTP} from 'cloudevents';

const [url, command, ...args] = process.argv.slice(2);
const connection = await amqp.connect(url);
const channel = await connection.createConfirmChannel();
const print = object => process.stdout.write(JSON.stringify(object) + '\n');
const shared = {durable: true};

// MassTransit's envelope, as its documentation publishes it.
function envelope(type, message, more = {}) {
	return {
		messageId: randomUUID(), conversationId: randomUUID(),
		sourceAddress: 'rabbitmq://localhost/web_bus', messageType: [`urn:message:${type}`],
		message,
		sentTime: new Date().toISOString(), headers: {},
		host: {
			machineName: 'web', processName: 'web', processId: 1, assembly: 'Web',
			assemblyVersion: '1.0.0.0', frameworkVersion: '8.0.0', massTransitVersion: '8.2.5.0',
			operatingSystemVersion: 'Unix 6.1',
		},
		...more,
	};
}

function sendEnvelope(exchange, content) {
	channel.publish(exchange, '', Buffer.from(JSON.stringify(content)), {
		contentType: 'application/vnd.masstransit+json', messageId: content.messageId,
		persistent: true, correlationId: content.correlationId,
		headers: {'Content-Type': 'application/vnd.masstransit+json'},
	});
}

// Consumes until there were so many.
async function consume(queue, count, take) {
	let got = 0;
	await channel.prefetch(200);
	await new Promise(resolve => channel.consume(queue, async delivery => {
		await take(delivery);
		channel.ack(delivery);
		if (++got === count)
			resolve();
	}));
}

const commands = {
	async declare(json) {
		const wanted = JSON.parse(json);
		for (const [name, type] of wanted.exchanges ?? [])
			await channel.assertExchange(name, type, shared);
		for (const [name, bindings] of Object.entries(wanted.queues ?? {})) {
			await channel.assertQueue(name, {
				durable: true, arguments: {'x-queue-type': 'quorum', ...wanted.arguments},
			});
			for (const [exchange, key] of bindings)
				await channel.bindQueue(name, exchange, key);
		}
	},

	async publish() {
		let count = 0;
		for await (const line of createInterface({input: process.stdin})) {
			const {exchange, key, body, options} = JSON.parse(line);
			channel.publish(exchange, key ?? '', Buffer.from(body), {persistent: true, ...options});
			if (++count % 500 === 0)
				await channel.waitForConfirms();
		}
		await channel.waitForConfirms();
		print(count);
	},

	async consume(queue, count) {
		await consume(queue, Number(count), ({fields, properties, content}) => {
			const {headers, ...others} = properties;
			print({
				exchange: fields.exchange, key: fields.routingKey, headers, properties: others,
				body: content.toString(),
			});
		});
	},

	// All that is there now.
	async drain(queue) {
		const end = randomUUID();
		channel.sendToQueue(queue, Buffer.from(end), {persistent: true});
		await channel.waitForConfirms();
		await channel.prefetch(200);
		await new Promise(resolve => channel.consume(queue, delivery => {
			channel.ack(delivery);
			if (delivery.content.toString() === end)
				resolve();
			else
				print(delivery.content.toString());
		}));
	},

	async ready(queue) {
		print((await channel.checkQueue(queue)).messageCount);
	},

	// The bus of a client: an exchange and a queue that go with it; responses come there.
	async ask(count) {
		const bus = `web_bus_${randomUUID().replaceAll('-', '')}`;
		const trace = `00-${randomUUID().replaceAll('-', '')}-00f067aa0ba902b7-01`;
		const asked = new Map();
		await channel.assertExchange(bus, 'fanout', {durable: false, autoDelete: true});
		await channel.assertQueue(bus, {durable: false, autoDelete: true});
		await channel.bindQueue(bus, bus, '');
		const answers = consume(bus, Number(count), ({content, properties}) => {
			const answer = JSON.parse(content);
			const order = asked.get(answer.requestId);
			print({
				order, trace, answer: answer.message, type: answer.messageType[0],
				activity: answer.headers['MT-Activity-Id'], contentType: properties.contentType,
				conversation: answer.conversationId === order?.conversation,
			});
		});
		for (let i = 0; i < Number(count); i++) {
			const orderId = randomUUID();
			const order = {orderId, customerId: randomUUID(), lineNumber: i};
			const content = envelope('Shop.Contracts:SubmitOrder', order, {
				requestId: randomUUID(), correlationId: orderId, headers: {'MT-Activity-Id': trace},
				responseAddress: `rabbitmq://localhost/${bus}?durable=false&temporary=true`,
			});
			asked.set(content.requestId, {orderId, conversation: content.conversationId});
			sendEnvelope('Shop.Contracts:SubmitOrder', content);
		}
		await channel.waitForConfirms();
		await answers;
	},

	// An endpoint: exchange and queue of one name, the message types' exchanges bound to it.
	async answer(queue, count) {
		await channel.assertExchange(queue, 'fanout', shared);
		await channel.assertQueue(queue, {durable: true, arguments: {'x-queue-type': 'quorum'}});
		await channel.bindQueue(queue, queue, '');
		await channel.assertExchange('Shop.Contracts:ReserveInventory', 'fanout', shared);
		await channel.bindExchange(queue, 'Shop.Contracts:ReserveInventory', '');
		await channel.assertExchange('Shop.Contracts:InventoryReserved', 'fanout', shared);
		print('ready');
		await consume(queue, Number(count), async ({content}) => {
			const {message, messageId, ...asked} = JSON.parse(content);
			const {correlationId, conversationId, headers} = asked;
			const type = 'Shop.Contracts:InventoryReserved';
			sendEnvelope(type, envelope(type, {
				orderId: message.orderId, key: message.key,
				expiresAt: new Date(Date.now() + 900_000).toISOString(),
				reservedItems: message.items.map(item => ({...item, reservationId: messageId})),
			}, {correlationId, conversationId, initiatorId: messageId, headers}));
			await channel.waitForConfirms();
		});
	},

	async event(type, data, mode, exchange, key) {
		const event = new CloudEvent({type, source: '/web', subject: 'k1', data: JSON.parse(data)});
		const {headers, body} = mode === 'binary' ? HTTP.binary(event) : HTTP.structured(event);
		const {'content-type': contentType, ...others} = headers;
		channel.publish(exchange, key, Buffer.from(body), {contentType, headers: others});
		await channel.waitForConfirms();
		print(event.id);
	},

	async events(queue, count) {
		await consume(queue, Number(count), ({properties, content}) => {
			const event = HTTP.toEvent({
				headers: {'content-type': properties.contentType, ...properties.headers},
				body: content.toString(),
			});
			print(event.validate() && event);
		});
	},
};

await commands[command](...args);
// By itself a connection may close before what its channels have said is on its way.
await channel.close();
await connection.close();
