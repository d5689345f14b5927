// What a shovel of RabbitMQ's brings from one quorum queue to another.
// Usage: node shovel.mjs URL fill COUNT | watch COUNT, with BENCH_PAYLOAD as body.
// fill makes both queues and fills the first. watch waits until all is in the second, and prints
// how many a second came, from the moment the first one had. Lines are `metric value`.
import amqp from 'amqplib';
import { setTimeout as sleep } from 'node:timers/promises';

const [url, command, count] = process.argv.slice(2);
const connection = await amqp.connect(url);
const channel = await connection.createConfirmChannel();
const options = { durable: true, arguments: { 'x-queue-type': 'quorum' } };
const arrived = async () => (await channel.checkQueue('arrived')).messageCount;

if (command === 'fill') {
  const body = Buffer.from(process.env.BENCH_PAYLOAD);
  for (const queue of ['orders', 'arrived']) await channel.assertQueue(queue, options);
  for (let sent = 0; sent < count; sent++) {
    channel.sendToQueue('orders', body, { persistent: true, messageId: String(sent) });
    if (sent % 1000 === 999) await channel.waitForConfirms();
  }
  await channel.waitForConfirms();
} else {
  while (await arrived() === 0) await sleep(2);
  const [began, there] = [performance.now(), await arrived()];
  while (await arrived() < count) await sleep(20);
  console.log(`per_s ${((count - there) * 1000) / (performance.now() - began)}`);
}
await connection.close();
