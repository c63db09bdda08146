// Random operations on a few files, with an engine that is killed at any record and any call, a store that loses requests and
// answers, and another host that changes objects; what is read and what is stored is compared with plain buffers.
import t, { type Test } from 'tap';
import { all, among, type Change, changeOf, Dead, FILES, LONGEST, Model } from './content-model.ts';
import { baseOf, context, Site } from './content-site.ts';

const STEPS = Number(process.env['STEPS'] ?? 700);
const SEEDS = (process.env['SEEDS'] ?? '1,2').split(',').map(Number);
const run = async (t: Test, seed: number): Promise<void> => {
  const site = await Site.make({ partMin: 16 });
  t.teardown(() => site.remove());
  const model = new Model(site, seed);
  await model.live();
  const problems: string[] = [];
  const problem = (step: number, text: string): void => {
    problems.push(`seed ${seed}, step ${step}: ${text}`);
  };

  for (let step = 0; step < STEPS && problems.length === 0; step += 1) {
    const slot = await model.slot(model.below(FILES));
    model.lossy = model.random() < 0.2 ? 0.2 : 0;
    if (model.random() < 0.12) model.light();
    let pending: Change | undefined;
    try {
      const content = await model.answer(() => model.open(slot));
      const kind = model.below(100);
      if (kind < 45) {
        pending = changeOf(model, slot.local);
        model.count(pending.what);
        // What may be there if it is killed in the middle of it.
        slot.allowed.push(pending.after(slot.local));
        const { make, after } = pending;
        await model.answer(() => make(content));
        slot.now(after(slot.local));
        pending = undefined;
      } else if (kind < 60) {
        const { local } = slot;
        let got: Buffer | undefined;
        try {
          got = await model.answer(() => all(content));
        } catch (error) {
          if (model.dead) throw error;
          // Changed by the other host, or no answer.
          model.count('refused reads');
          if (!/ESTALE|EIO/.test(String(error))) problem(step, `read: ${error}`);
        }
        if (got !== undefined && !got.equals(local) && !got.equals(slot.local)) {
          const head = await site.plain.head(slot.home.at ?? '', context());
          const theirs = model.theirs.get(head?.etag ?? '');
          if (theirs?.equals(got)) model.seeTheirs(slot, head?.etag ?? '');
          else problem(step, `read ${got.length} bytes that never were; expected ${local.length}`);
        }
      } else if (kind < 75) {
        model.count('flush');
        const conflicts = slot.home.conflicts.length;
        const wanted = slot.local;
        try {
          await model.answer(() => content.flush(context()));
          const stored = await site.bytes(slot.home.at ?? '');
          const etag = (await site.plain.head(slot.home.at ?? '', context()))?.etag ?? '';
          if (stored === undefined || !(stored.equals(wanted) || model.theirs.get(etag)?.equals(stored))) {
            problem(step, `a flush of ${wanted.length} bytes answered, and ${stored?.length} others are stored`);
          }
          slot.allowed = [slot.local];
        } catch (error) {
          if (model.dead) throw error;
          model.count('failed flushes');
          const expected = /ESTALE/.test(String(error))
            ? slot.home.conflicts.length >= Math.max(conflicts, 1)
            : /EIO/.test(String(error));
          if (!expected) problem(step, `flush: ${error}`);
          if (/ESTALE/.test(String(error))) slot.untold = false;
        }
      } else if (kind < 82) {
        content.flushLater();
      } else if (kind < 88) {
        content.release();
      } else if (kind < 92) {
        // Another host.
        const bytes = model.bytes(model.below(LONGEST));
        const key = slot.home.at ?? '';
        if ((await site.plain.head(key, context())) !== undefined) {
          model.count('theirs');
          const base = await site.put(key, bytes);
          model.theirs.set(base.etag, bytes);
          slot.others.push(bytes);
        }
      } else if (kind < 95) {
        model.count('rename');
        const free = await model.answer(() => content.hold(context()));
        try {
          const from = slot.home.at ?? '';
          const to = `${from.replace(/-r\d+$/, '')}-r${step}`;
          const base = content.base;
          if (base !== undefined && base.key === from) {
            const facts = await site.plain
              .copy(from, to, { ifSourceMatch: base.etag }, context())
              .catch(() => undefined);
            if (facts !== undefined) {
              // Of a death in the middle only the namespace knows that it is its own object that lies there, and this is none.
              const bytes = await site.bytes(from);
              const isTheirs = model.theirs.has(base.etag);
              if (bytes !== undefined) model.theirs.set(base.etag, bytes);
              content.moved(baseOf(facts));
              if (!isTheirs) model.theirs.delete(base.etag);
              slot.home.at = to;
              await site.plain.remove(from, context());
            }
          } else if (base === undefined && (await site.plain.head(from, context())) === undefined) {
            slot.home.at = to;
          }
        } finally {
          free();
        }
      } else if (kind < 97) {
        model.count('unlink');
        const free = await model.answer(() => content.hold(context()));
        try {
          const key = slot.home.at ?? '';
          await model.answer(() => content.detach(undefined, context()));
          slot.home.at = undefined;
          await site.plain.remove(key, context());
          const got = await model.answer(() => all(content));
          if (!got.equals(slot.local)) problem(step, 'an unlinked file has other bytes');
        } catch (error) {
          if (model.dead) throw error;
          if (!/ESTALE|EIO/.test(String(error))) problem(step, `unlink: ${error}`);
        } finally {
          free();
        }
        slot.home.at = undefined;
        slot.unlinked = true;
        content.release();
      } else {
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      if (model.dead) throw new Dead();
    } catch (error) {
      if (!model.dead) {
        if (!(error instanceof Error && /ESTALE|EIO/.test(error.message))) throw error;
        // What would come to lie over somebody else's bytes, as nobody has been told of them.
        const isUntold = pending !== undefined && slot.untold && /ESTALE/.test(error.message);
        if (!isUntold) problem(step, `refused: ${pending?.what} ${error.stack}`);
      }
    }
    if (model.dead) {
      model.lossy = 0;
      await model.live();
      for (const one of model.slots) {
        if (one === undefined || one.unlinked) continue;
        if (model.contents.find(one.home.node) === undefined && one !== slot) continue;
        const content = await model.open(one);
        const got = await all(content).catch((error: unknown) => {
          if (!/ESTALE/.test(String(error))) throw error;
        });
        const expected = one === slot && pending !== undefined ? [one.local, pending.after(one.local)] : [one.local];
        if (got !== undefined && !among(got, expected)) {
          // A write that was not acknowledged may be there in part; the kernel sends it again.
          if (one !== slot || pending === undefined)
            problem(step, `after a death ${got.length} bytes are others; expected ${one.local.length}`);
          one.allowed.push(got);
        }
        if (one === slot && pending !== undefined) {
          await pending.make(content);
          one.now(pending.after(one.local));
          pending = undefined;
          const wanted = one.local;
          const redone = await all(content).catch(() => undefined);
          if (redone !== undefined && one.local === wanted && !redone.equals(one.local))
            problem(step, 'a write that was sent again is not there');
        }
      }
    }
    for (const { keptAs, whole, expected } of model.pendingLosses.splice(0)) {
      const kept = await site.bytes(keptAs);
      if (kept === undefined) problem(step, `${keptAs} is not there`);
      else if (whole && !among(kept, expected)) problem(step, `${keptAs} has bytes that never were`);
      else if (
        !whole &&
        !expected.some((one) => one.length === kept.length && kept.every((byte, i) => byte === 0 || byte === one[i]))
      ) {
        problem(step, `${keptAs} has bytes that never were`);
      }
    }
    for (const one of step % 4 === 0 ? model.slots : [slot]) {
      if (one === undefined || one.unlinked || one.home.at === undefined) continue;
      const { at } = one.home;
      const stored = await site.bytes(at);
      if (stored !== undefined && !among(stored, [...one.allowed, ...one.others]))
        problem(
          step,
          `${at} is stored with ${stored.length} bytes that it never had: ${JSON.stringify(await site.plain.head(at, context()))}; ${one.allowed.map((b) => b.length)}`,
        );
    }
  }
  if (model.dead) await model.live();
  model.unlight();
  if (problems.length === 0) {
    await model.contents.drain(() => undefined);
    for (const one of model.slots) {
      if (one === undefined || one.unlinked || one.home.at === undefined) continue;
      const stored = await site.bytes(one.home.at);
      const etag = (await site.plain.head(one.home.at, context()))?.etag ?? '';
      if (stored !== undefined && !stored.equals(one.local) && !model.theirs.has(etag))
        problem(STEPS, 'drained, and other bytes are stored');
    }
  }
  await model.contents.close();
  t.same(problems, []);
  t.comment(Object.fromEntries(model.counts));
};

t.test('nothing that was acknowledged is lost, and nothing is mixed, whatever happens when', async (t) => {
  for (const seed of SEEDS) await t.test(`seed ${seed}`, (t) => run(t, seed));
});
