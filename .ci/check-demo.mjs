// Reads what `assay demo --json` printed, and fails unless the promise was kept: one object on standard
// output, a settled job with verifiers other than the executor, an answer, and a receipt that verified.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';

const id = /^(0x)?[0-9a-f]{64}$/;
const { model, job, receipt, balances } = JSON.parse(readFileSync(0, 'utf8'));

assert.match(model.artifact_id, id, 'the model has an artifact id');
assert.match(model.weights_id, id, 'the model has a weights id');
assert.match(job.id, id, 'the job has an id');
assert.equal(job.state, 'settled', 'the job is settled');
assert.ok(job.verifiers.length >= 1, 'the job has verifiers');
assert.ok(!job.verifiers.includes(job.executor), 'nobody verifies its own execution');
assert.equal(new Set(job.verifiers).size, job.verifiers.length, 'verifiers are different accounts');
assert.ok(job.output.length > 0, 'the job has an answer');
assert.equal(receipt.verified, true, 'the receipt verifies');
assert.ok(statSync(receipt.path).size > 0, 'the receipt is a file');
assert.ok(Object.keys(balances).length > 0, 'balances are reported');

console.log(`demo: job ${job.id} settled by ${job.verifiers.length} verifiers; answer ${JSON.stringify(job.output)}`);
