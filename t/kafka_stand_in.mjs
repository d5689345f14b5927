// A Kafka of one broker for tests, as far as librdkafka asks: transactions with their epochs,
// markers and aborted records, so that read_committed means something (librdkafka's own mock
// cluster shows what was aborted). Its log outlives its connections, not its process.
// Prints its port. SIGUSR2: it crashes, that is, all connections end with what was under way
// on them, and it comes back a moment later. SIGUSR1: the next transaction is committed, but
// whoever has asked for that is never answered again.
// With a certificate it speaks TLS alone, and whoever has not given user and password by SASL's
// mechanism, PLAIN or one of SCRAM's, is answered nothing else.
// Usage: kafka_stand_in.mjs [PORT [CERTIFICATE KEY USER PASSWORD MECHANISM]]
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { setTimeout } from 'node:timers/promises';
import tls from 'node:tls';

const [wantedPort, certificate, key, user, password, mechanism] = process.argv.slice(2);

const AWAY_MS = 700;
const FETCH_MS = 50;
const ITERATIONS = 4096;
const errors = {
	none: 0, unknownTopic: 3, unsupported: 35, exists: 36, outOfOrder: 45, staleEpoch: 47,
	noTransaction: 48, mechanism: 33, authentication: 58,
};
const topics = new Map(); // name: {partitions: [{batches, end, open, aborted, last}], config}
const producers = new Map(); // transactional id: {id, epoch, touched}
const sockets = new Set();
let nextProducer = 1000;
let mute = false;

// ---------------------------------------------------------------- bytes
class Reader {
	constructor(buffer) { this.buffer = buffer; this.at = 0; }
	i8() { return this.buffer.readInt8(this.at++); }
	i16() { this.at += 2; return this.buffer.readInt16BE(this.at - 2); }
	i32() { this.at += 4; return this.buffer.readInt32BE(this.at - 4); }
	i64() { this.at += 8; return this.buffer.readBigInt64BE(this.at - 8); }
	take(length) { this.at += length; return this.buffer.subarray(this.at - length, this.at); }
	string() { const length = this.i16(); return length < 0 ? null : this.take(length).toString(); }
	bytes() { const length = this.i32(); return length < 0 ? null : this.take(length); }
	array(each) {
		const count = this.i32();
		return count < 0 ? null : Array.from({ length: count }, () => each());
	}
}

class Writer {
	constructor() { this.parts = []; }
	put(size, write) {
		const part = Buffer.alloc(size);
		write(part);
		this.parts.push(part);
		return this;
	}
	i8(value) { return this.put(1, (b) => b.writeInt8(value)); }
	i16(value) { return this.put(2, (b) => b.writeInt16BE(value)); }
	i32(value) { return this.put(4, (b) => b.writeInt32BE(value)); }
	i64(value) { return this.put(8, (b) => b.writeBigInt64BE(BigInt(value))); }
	string(value) {
		if (value === null) return this.i16(-1);
		this.i16(Buffer.byteLength(value)).parts.push(Buffer.from(value));
		return this;
	}
	bytes(value) { this.i32(value.length).parts.push(value); return this; }
	array(values, each) {
		this.i32(values.length);
		for (const value of values) each(value);
		return this;
	}
	done() { return Buffer.concat(this.parts); }
}

const crcTable = Array.from({ length: 256 }, (_, n) => {
	for (let k = 0; k < 8; k++) n = n & 1 ? 0x82f63b78 ^ (n >>> 1) : n >>> 1;
	return n >>> 0;
});
const crc32c = (buffer) => {
	let crc = 0xffffffff;
	for (const byte of buffer) crc = crcTable[(crc ^ byte) & 0xff] ^ (crc >>> 8);
	return (crc ^ 0xffffffff) >>> 0;
};

// ---------------------------------------------------------------- the log
const makeTopic = (name, config = {}) => {
	const length = 'cleanup.policy' in config ? 1 : 4;
	topics.set(name, { config, partitions: Array.from({ length }, () =>
		({ batches: [], end: 0, open: new Map(), aborted: [], last: new Map() })) });
	return topics.get(name);
};

const partitionOf = (topic, number) => topics.get(topic)?.partitions[number];

// What is committed ends where the oldest open transaction begins.
const stable = (partition) => Math.min(partition.end, ...partition.open.values());

const store = (partition, batch, count) => {
	batch.writeBigInt64BE(BigInt(partition.end), 0);
	partition.batches.push({ first: partition.end, next: partition.end + count, batch });
	partition.end += count;
};

// The record that ends a transaction in a partition.
const marker = (producer, committed) => {
	const kind = committed ? 1 : 0;
	const body = Buffer.from([0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 0, 0]);
	const batch = Buffer.concat([Buffer.alloc(61), Buffer.from([body.length * 2]), body]);

	batch.writeInt32BE(batch.length - 12, 8);
	batch.writeInt8(2, 16);
	batch.writeInt16BE(0x30, 21); // transactional, control
	batch.writeBigInt64BE(BigInt(producer.id), 43);
	batch.writeInt16BE(producer.epoch, 51);
	batch.writeInt32BE(-1, 53);
	batch.writeInt32BE(1, 57);
	batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
	return batch;
};

const endTransaction = (producer, committed) => {
	for (const partition of producer.touched) {
		const first = partition.open.get(producer.id);
		if (first !== undefined) {
			if (!committed)
				partition.aborted.push({ producer: producer.id, first, last: partition.end });
			partition.open.delete(producer.id);
			store(partition, marker(producer, committed), 1);
		}
	}
	producer.touched = new Set();
};

const append = (partition, batch) => {
	const id = Number(batch.readBigInt64BE(43));
	const epoch = batch.readInt16BE(51);
	const sequence = batch.readInt32BE(53);
	const count = batch.readInt32BE(57);
	const transactional = (batch.readInt16BE(21) & 0x10) !== 0;
	const producer = [...producers.values()].find((p) => p.id === id);

	if (!producer || epoch !== producer.epoch) return { error: errors.staleEpoch };
	if (transactional && !producer.touched.has(partition)) return { error: errors.noTransaction };
	let last = partition.last.get(id);
	if (!last || last.epoch !== epoch) last = { epoch, next: 0, known: new Map() };
	if (last.known.has(sequence)) return { error: errors.none, offset: last.known.get(sequence) };
	if (sequence !== last.next) return { error: errors.outOfOrder };
	last.known.set(sequence, partition.end);
	last.next += count;
	partition.last.set(id, last);
	if (transactional && !partition.open.has(id)) partition.open.set(id, partition.end);
	const offset = partition.end;
	store(partition, Buffer.from(batch), count);
	return { error: errors.none, offset };
};

// ---------------------------------------------------------------- who somebody is
// What a client is told; null if he is not the one.
const authenticate = (socket, said) => {
	if (mechanism !== 'PLAIN')
		return socket.scram ? scramLast(socket, said) : scramFirst(socket, said);
	const [, name, word] = said.split('\0');
	socket.authenticated = name === user && word === password;
	return socket.authenticated ? '' : null;
};

// RFC 5802: a challenge to the client's first message,
const scramFirst = (socket, said) => {
	const bare = said.replace(/^[^,]*,[^,]*,/, '');
	const { n: name, r: nonce } = attributes(bare);
	const salt = randomBytes(16);
	const challenge = `r=${nonce}${randomBytes(18).toString('base64')}`
		+ `,s=${salt.toString('base64')},i=${ITERATIONS}`;
	socket.scram = { name, salt, bare, challenge };
	return challenge;
};

// and to its last one the proof that we know the password too, if it has proved that it does.
const scramLast = (socket, said) => {
	const { name, salt, bare, challenge } = socket.scram;
	const digest = mechanism.replace('SCRAM-', '').replace('-', '').toLowerCase();
	const mac = (secret, text) => createHmac(digest, secret).update(text).digest();
	const size = createHash(digest).digest().length;
	const salted = pbkdf2Sync(password, salt, ITERATIONS, size, digest);
	const clientKey = mac(salted, 'Client Key');
	const message = `${bare},${challenge},${said.replace(/,p=.*/, '')}`;
	const signature = mac(createHash(digest).update(clientKey).digest(), message);
	const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i])).toString('base64');
	const given = attributes(said);

	// librdkafka before 2.6 has its own nonce twice; Kafka looks at the end of it alone, too.
	socket.authenticated = name === user && given.p === proof
		&& given.r.endsWith(attributes(challenge).r);
	return socket.authenticated
		? `v=${mac(mac(salted, 'Server Key'), message).toString('base64')}` : null;
};

const attributes = (text) => Object.fromEntries(text.split(',').map((part) =>
	[part[0], part.slice(2)]));

// ---------------------------------------------------------------- requests
// Reads an array of topics, each with an array of partitions,
const readPartitions = (request, each) => request.array(() =>
	({ topic: request.string(), partitions: request.array(each) }));
// and writes one.
const eachPartition = (out, asked, each) => out.array(asked, ({ topic, partitions }) =>
	out.string(topic).array(partitions, (one) => each(partitionOf(topic, one.number), one)));
const node = (out) => out.i32(1).string('127.0.0.1').i32(port);
const ofProducer = (id, producer, epoch) => {
	const known = producers.get(id);
	return known && BigInt(known.id) === producer && known.epoch === epoch ? known : null;
};

const handlers = {
	0: { name: 'Produce', max: 3, run(request, out) {
		request.string(); request.i16(); request.i32();
		const sent = readPartitions(request, () =>
			({ number: request.i32(), batch: request.bytes() }));
		eachPartition(out, sent, (partition, { number, batch }) => {
			const { error, offset } = partition ? append(partition, batch)
				: { error: errors.unknownTopic };
			out.i32(number).i16(error).i64(offset ?? -1).i64(-1);
		}).i32(0);
	} },
	1: { name: 'Fetch', max: 4, run(request, out) {
		request.i32(); request.i32(); request.i32(); request.i32();
		const committed = request.i8() === 1;
		const wanted = readPartitions(request, () =>
			({ number: request.i32(), offset: Number(request.i64()), most: request.i32() }));
		eachPartition(out.i32(0), wanted, (partition, { number, offset, most }) => {
			if (!partition) {
				out.i32(number).i16(errors.unknownTopic).i64(-1).i64(-1).i32(-1).i32(0);
				return;
			}
			const end = committed ? stable(partition) : partition.end;
			const found = [];
			let size = 0;
			for (const { first, next, batch } of partition.batches) {
				if (next <= offset || first >= end) continue;
				if (size > 0 && size + batch.length > most) break;
				found.push(batch);
				size += batch.length;
			}
			const aborted = partition.aborted.filter((a) => a.last >= offset && a.first < end);
			out.i32(number).i16(0).i64(partition.end).i64(stable(partition))
				.array(committed ? aborted : [], (a) => out.i64(a.producer).i64(a.first))
				.bytes(Buffer.concat(found));
		});
	} },
	2: { name: 'ListOffsets', max: 1, run(request, out) {
		request.i32();
		const wanted = readPartitions(request, () =>
			({ number: request.i32(), time: request.i64() }));
		eachPartition(out, wanted, (partition, { number, time }) => {
			out.i32(number).i16(partition ? 0 : errors.unknownTopic).i64(-1)
				.i64(!partition ? -1 : time === -2n ? 0 : partition.end);
		});
	} },
	3: { name: 'Metadata', max: 4, run(request, out) {
		const names = request.array(() => request.string()) ?? [...topics.keys()];
		const create = request.i8() === 1;
		out.i32(0).array([1], () => node(out).string(null)).string('stand-in').i32(1);
		out.array(names, (name) => {
			const topic = topics.get(name) ?? (create ? makeTopic(name) : null);
			const numbers = [...(topic?.partitions ?? []).keys()];
			out.i16(topic ? 0 : errors.unknownTopic).string(name).i8(0).array(numbers, (number) => {
				out.i16(0).i32(number).i32(1);
				for (let list = 0; list < 2; list++) out.array([1], () => out.i32(1));
			});
		});
	} },
	10: { name: 'FindCoordinator', max: 1, run(request, out) {
		node(out.i32(0).i16(0).string(null));
	} },
	17: { name: 'SaslHandshake', max: 1, run(request, out) {
		const error = request.string() === mechanism ? errors.none : errors.mechanism;
		out.i16(error).array([mechanism], (name) => out.string(name));
	} },
	36: { name: 'SaslAuthenticate', max: 0, run(request, out, socket) {
		const reply = authenticate(socket, request.bytes().toString());
		const error = reply === null ? errors.authentication : errors.none;
		out.i16(error).string(error ? 'who are you' : null).bytes(Buffer.from(reply ?? ''));
	} },
	18: { name: 'ApiVersions', max: 0, run(request, out) { versions(out, 0); } },
	19: { name: 'CreateTopics', max: 4, run(request, out) {
		const wanted = request.array(() => {
			const name = request.string();
			request.i32(); request.i16();
			request.array(() => { request.i32(); request.array(() => request.i32()); });
			const settings = request.array(() => [request.string(), request.string()]);
			return { name, config: Object.fromEntries(settings) };
		});
		out.i32(0).array(wanted, ({ name, config }) => {
			const there = topics.has(name);
			if (!there) makeTopic(name, config);
			out.string(name).i16(there ? errors.exists : 0).string(null);
		});
	} },
	22: { name: 'InitProducerId', max: 1, run(request, out) {
		const id = request.string();
		const producer = producers.get(id) ?? { id: nextProducer++, epoch: -1, touched: new Set() };
		endTransaction(producer, false);
		producer.epoch++;
		producers.set(id, producer);
		out.i32(0).i16(0).i64(producer.id).i16(producer.epoch);
	} },
	24: { name: 'AddPartitionsToTxn', max: 0, run(request, out) {
		const producer = ofProducer(request.string(), request.i64(), request.i16());
		const wanted = readPartitions(request, () => ({ number: request.i32() }));
		eachPartition(out.i32(0), wanted, (partition, { number }) => {
			if (producer && partition) producer.touched.add(partition);
			out.i32(number)
				.i16(!partition ? errors.unknownTopic : producer ? 0 : errors.staleEpoch);
		});
	} },
	26: { name: 'EndTxn', max: 1, run(request, out) {
		const producer = ofProducer(request.string(), request.i64(), request.i16());
		if (producer) endTransaction(producer, request.i8() === 1);
		out.i32(0).i16(producer ? 0 : errors.staleEpoch);
	} },
};

const versions = (out, error) => out.i16(error).array(Object.keys(handlers), (key) =>
	out.i16(Number(key)).i16(0).i16(handlers[key].max));

const answer = async (socket, frame) => {
	const request = new Reader(frame);
	const code = request.i16();
	const version = request.i16();
	const out = new Writer().i32(request.i32());
	const handler = handlers[code];

	request.string();
	if (!handler || version > handler.max) {
		if (code !== 18) throw new Error(`request ${code} in version ${version}`);
		versions(out, errors.unsupported);
	} else if (!socket.authenticated && ![17, 18, 36].includes(code)) {
		throw new Error(`${handler.name} of somebody unknown`);
	} else {
		if (handler.name === 'Fetch') await setTimeout(FETCH_MS);
		if (socket.destroyed) return;
		handler.run(request, out, socket);
	}
	if (mute && handler?.name === 'EndTxn') {
		mute = false;
		socket.muted = true;
	}
	if (socket.muted) return;
	const body = out.done();
	socket.write(new Writer().i32(body.length).done());
	socket.write(body);
};

// ---------------------------------------------------------------- connections
const listen = certificate ? (each) => tls.createServer(
	{ cert: readFileSync(certificate), key: readFileSync(key) }, each) : net.createServer;
const server = listen((socket) => {
	let pending = Buffer.alloc(0);
	let turn = Promise.resolve();

	socket.authenticated = user === undefined;
	sockets.add(socket);
	socket.on('close', () => sockets.delete(socket));
	socket.on('error', () => {});
	socket.on('data', (data) => {
		pending = Buffer.concat([pending, data]);
		while (pending.length >= 4 && pending.length >= 4 + pending.readInt32BE(0)) {
			const frame = pending.subarray(4, 4 + pending.readInt32BE(0));
			pending = pending.subarray(4 + frame.length);
			turn = turn.then(() => answer(socket, frame)).catch((error) => {
				console.error(error);
				socket.destroy();
			});
		}
	});
});
let port = Number(wantedPort ?? 0);

process.on('SIGUSR2', () => {
	server.close(() => setTimeout(AWAY_MS).then(() => server.listen(port, '127.0.0.1')));
	for (const socket of sockets) socket.destroy();
});
process.on('SIGUSR1', () => { mute = true; });
server.listen(port, '127.0.0.1', () => {
	if (port === 0) console.log(server.address().port);
	port = server.address().port;
});
