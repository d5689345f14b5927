// What tests do at a NATS server, with its own client.
// Usage: nats_peer.mjs URL read STREAM | make STREAM | purge STREAM
// read: every message as a line of JSON. make: a stream that tells duplicates by id for a tenth
// of a second only. NATS_SETTINGS: user, password and cacert as JSON.
import { connect, nanos } from 'nats';

const [url, command, stream] = process.argv.slice(2);
const { user, password: pass, cacert } = JSON.parse(process.env.NATS_SETTINGS ?? '{}');
const tls = cacert ? { caFile: cacert } : null;
const connection = await connect({ servers: url, user, pass, tls });
const manager = await connection.jetstreamManager();

if (command === 'make') {
	const duplicate_window = nanos(100);
	await manager.streams.add({ name: stream, subjects: [`${stream}.>`], duplicate_window });
} else if (command === 'purge') {
	await manager.streams.purge(stream);
} else {
	const { state } = await manager.streams.info(stream);
	const text = new TextDecoder();
	const consumer = await connection.jetstream().consumers.get(stream);
	for await (const message of await consumer.fetch({ max_messages: state.messages })) {
		const headers = Object.fromEntries([...message.headers]
			.map(([name, values]) => [name, values[0]]));
		const { seq, subject, data } = message;
		console.log(JSON.stringify({ seq, subject, headers, body: text.decode(data) }));
	}
}
await connection.close();
