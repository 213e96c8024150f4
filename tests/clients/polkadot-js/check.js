// Checks that an unmodified polkadot.js works with a running development node.
//
// Usage: node check.js ws://127.0.0.1:9944
//
// Prints one JSON object, {genesis, head, stateRoot, keys, values, proof}: a read proof and what it should
// prove, for a verifier that does not trust this script. Progress goes to standard error. Exits with 1 at
// the first mismatch, and after a minute in any case.

import assert from 'node:assert/strict';
import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';

const UNIT = 10n ** 12n;
const DEADLINE_MS = 60_000;
const STEP_MS = 20_000;

// The process ends when the deadline passes, whatever is still open.
setTimeout(() => fail(new Error(`not done after ${DEADLINE_MS} ms`)), DEADLINE_MS).unref();

function fail(error) {
  console.error(error);
  process.exit(1);
}

function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${STEP_MS} ms`)), STEP_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function step(what, work) {
  const result = await within(what, work());
  console.error(`ok: ${what}`);
  return result;
}

// Resolves with the events of a transaction once its block is final.
function finalized(transaction, signer) {
  return new Promise((resolve, reject) => {
    const follow = ({ status, events, isError }) => {
      if (status.isFinalized) {
        resolve({ block: status.asFinalized, events: events.map(({ event }) => event) });
      } else if (isError) {
        reject(new Error(`the transaction left the pool: ${status}`));
      }
    };
    transaction.signAndSend(signer, follow).catch(reject);
  });
}

const free = async (api, address) => (await api.query.system.account(address)).data.free.toBigInt();

async function connect(url) {
  // `false`: no second attempt when the connection breaks, so that nothing hangs.
  const provider = new WsProvider(url, false);
  const failed = new Promise((_, reject) => provider.on('error', reject));
  await Promise.all([provider.connect(), Promise.race([provider.isReady, failed])]);
  const api = new ApiPromise({ provider, throwOnConnect: true, noInitWarn: true });
  await Promise.race([api.isReadyOrError, failed]);
  return api;
}

function checkMetadata(api) {
  assert.equal(api.runtimeVersion.specName.toString(), 'assay');
  assert.deepEqual(api.registry.chainDecimals, [12]);
  assert.deepEqual(api.registry.chainTokens, ['ASY']);
  assert.equal(api.registry.chainSS58, 42);
  for (const pallet of ['artifacts', 'providers', 'jobs', 'balances', 'utility', 'multisig', 'proxy']) {
    assert.ok(api.tx[pallet], `calls of ${pallet}`);
  }
}

async function transfer(api, alice, bob) {
  const before = await free(api, bob.address);
  const { block, events } = await finalized(api.tx.balances.transferKeepAlive(bob.address, 3n * UNIT), alice);
  assert.ok(events.some((event) => api.events.system.ExtrinsicSuccess.is(event)));
  assert.equal((await free(api, bob.address)) - before, 3n * UNIT);
  const final = await api.rpc.chain.getFinalizedHead();
  const [at, head] = await Promise.all([api.rpc.chain.getHeader(block), api.rpc.chain.getHeader(final)]);
  assert.ok(at.number.toNumber() <= head.number.toNumber(), 'the block is final');
}

async function batches(api, alice, bob) {
  const calls = [
    api.tx.balances.transferKeepAlive(bob.address, UNIT),
    api.tx.balances.transferKeepAlive(bob.address, 10n ** 30n),
  ];
  const before = await free(api, bob.address);
  const some = await finalized(api.tx.utility.batch(calls), alice);
  const interrupted = some.events.find((event) => api.events.utility.BatchInterrupted.is(event));
  assert.ok(interrupted, 'a failing call interrupts a batch');
  assert.equal(interrupted.data.index.toNumber(), 1);
  assert.equal((await free(api, bob.address)) - before, UNIT, 'the call before it stays');

  const all = await finalized(api.tx.utility.batchAll(calls), alice);
  assert.ok(all.events.some((event) => api.events.system.ExtrinsicFailed.is(event)));
  assert.equal((await free(api, bob.address)) - before, UNIT, 'a batch of all is undone');
}

async function ourPallets(api, alice) {
  // Of this run alone, so that it can be repeated on one chain.
  const nonce = (await api.rpc.system.accountNextIndex(alice.address)).toNumber();
  const artifact = `0x${nonce.toString(16).padStart(64, '0')}`;
  const name = `words-${nonce}`;
  const registered = await finalized(api.tx.artifacts.register({ Dataset: artifact }, 5, name, 'CC0-1.0'), alice);
  assert.ok(registered.events.some((event) => api.events.artifacts.Registered.is(event)));
  const registration = (await api.query.artifacts.registrations(artifact, alice.address)).unwrap();
  assert.equal(registration.sizeBytes.toNumber(), 5);
  assert.equal(registration.name.toUtf8(), name);
  const entries = await api.query.artifacts.registrations.entries(artifact);
  assert.equal(entries.length, 1);
  assert.equal(entries[0][0].args[1].toString(), alice.address);

  const stake = api.tx.providers.stake(200n * UNIT, `0x${'01'.repeat(32)}`, `0x${'02'.repeat(32)}`);
  const staked = await finalized(stake, alice);
  assert.ok(staked.events.some((event) => api.events.providers.Staked.is(event)));
  const provider = (await api.query.providers.providers(alice.address)).unwrap();
  assert.ok(provider.stake.toBigInt() >= 200n * UNIT);
  const providers = await api.query.providers.providers.entries();
  assert.ok(providers.some(([key]) => key.args[0].toString() === alice.address));

  const params = await api.query.jobs.parameters();
  assert.ok(params.toHuman(), 'the parameters of jobs can be decoded');
  const jobs = await api.query.jobs.jobs.entries();
  assert.ok(Array.isArray(jobs));
  assert.equal((await api.query.jobs.nextNonce(alice.address)).toNumber(), 0);
}

async function readProof(api, alice) {
  const block = await api.rpc.chain.getFinalizedHead();
  const { stateRoot, number } = await api.rpc.chain.getHeader(block);
  const keys = [api.query.system.account.key(alice.address), api.query.providers.providers.key(alice.address)];
  const values = [];
  for (const key of keys) {
    values.push((await api.rpc.state.getStorage(key, block)).toHex(true));
  }
  const { at, proof } = await api.rpc.state.getReadProof(keys, block);
  assert.equal(at.toHex(), block.toHex());
  return {
    genesis: api.genesisHash.toHex(),
    head: { hash: block.toHex(), number: number.toNumber() },
    stateRoot: stateRoot.toHex(),
    keys,
    values,
    proof: proof.map((node) => node.toHex()),
  };
}

async function main(url) {
  if (!url) {
    throw new Error('usage: node check.js ws://HOST:PORT');
  }
  const api = await step('connects and reads the metadata', () => connect(url));
  checkMetadata(api);
  const keyring = new Keyring({ type: 'sr25519' });
  const [alice, bob] = ['//Alice', '//Bob'].map((uri) => keyring.addFromUri(uri));
  await step('sees a transfer finalized', () => transfer(api, alice, bob));
  await step('sees failing batches fail as they should', () => batches(api, alice, bob));
  await step('registers, stakes and reads entries of our pallets', () => ourPallets(api, alice));
  const proof = await step('fetches a read proof', () => readProof(api, alice));
  console.log(JSON.stringify(proof));
  await within('disconnects', api.disconnect());
}

main(process.argv[2]).then(() => process.exit(0), fail);
