import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Share } from '../../volume-plugin/nfs/share.ts';
import type { ShareProvider } from '../../volume-plugin/nfs/share-provider.ts';
import { context } from './disk-tools.ts';
import { codeOf } from './route-provider.ts';

/** How the suite gets at an implementation. All hosts see the same shares. */
export interface ShareWorld {
  /**
   * A provider of host `n`, not started. Called again for the same `n`, it is that host after a restart. Hosts 0 and 1 are
   * in one place (a zone), host 2 is in another one. All are of one cluster, but those that are told another one.
   */
  host(n: number, cluster?: string): ShareProvider;
  /** What one host does shows on the others after so many milliseconds at most; at once when absent. */
  readonly lateMs?: number;
  /** A share is made when there is none. False: `usual` and `ensure` answer what the settings name. */
  readonly makes: boolean;
  /** What there is in truth: file systems, and mount targets by which they are reached. Only where shares are made. */
  count?(): { readonly shares: number; readonly targets: number };
  /** A share that is there, and that this cluster has not made. */
  readonly others: string;
  /** Texts for shares that are not there. */
  readonly missing: readonly string[];
  /** Texts that name no share. */
  readonly nonsense: readonly string[];
  /** From now on the first answer to each call that makes something is lost. Only where shares are made. */
  loseAnswers?(): void;
  /** What a folder may grow to in truth, in bytes; undefined: as large as it likes. Only where there is `limit`. */
  limitOf?(share: Share, folder: string): number | undefined;
}

/** Makes a world in which the cluster has made nothing yet, gone when the test ends. */
export type MakeShareWorld = (t: Test) => Promise<ShareWorld>;

/** What every provider of shares must do. */
export const shareProviderConformance = async (t: Test, make: MakeShareWorld): Promise<void> => {
  /** So many hosts at work, until the test ends. */
  const world = async (t: Test, hosts = 3) => {
    const made = await make(t);
    const started = async (n: number, cluster?: string): Promise<ShareProvider> => {
      const provider = made.host(n, cluster);
      t.teardown(() => provider.close());
      await provider.start(context());
      return provider;
    };
    const providers = await Promise.all(Array.from({ length: hosts }, (_, n) => started(n)));
    const [a, b = a, c = b] = providers;
    if (a === undefined || b === undefined || c === undefined) throw new Error('a world without hosts');
    /** The usual ones, as soon as this one shows among them or would by now. */
    const shown = async (one: ShareProvider, id: string): Promise<readonly string[]> => {
      for (const end = performance.now() + (made.lateMs ?? 0); ; await pause(20)) {
        const isLast = performance.now() >= end;
        const known = await one.usual(context());
        if (known.includes(id) || isLast) return known;
      }
    };
    return { ...made, started, shown, providers, a, b, c };
  };
  const none = { shares: 0, targets: 0 };

  await t.test('the share for volumes that name none is the same on every host that asks, also at once', async (t) => {
    const { providers, a, makes, count, started, shown } = await world(t);
    const before = count?.() ?? none;
    const usual = await a.usual(context());
    if (makes) t.same(usual, [], 'nothing was made by asking');
    t.same(count?.() ?? none, before);
    const ids = await Promise.all([...providers, ...providers].map((one) => one.ensure({}, context())));
    t.equal(new Set(ids).size, 1, ids.join(', '));
    if (count !== undefined) t.equal(count().shares, before.shares + 1, 'made once');
    for (const one of [...providers, await started(0)]) {
      const known = await shown(one, ids[0] ?? '');
      t.ok(known.includes(ids[0] ?? ''), 'and it is known from then on');
      if (makes) t.equal(known.length, 1);
      t.equal(await one.ensure({}, context()), ids[0]);
    }
    if (count !== undefined) t.equal(count().shares, before.shares + 1);
  });

  await t.test(
    'hosts that look for it at once are told one share by one id, and the way from where they are',
    async (t) => {
      const { providers, a, b, c, count, started } = await world(t);
      const id = await a.ensure({}, context());
      const before = count?.() ?? none;
      const shares = await Promise.all([...providers, ...providers].map((one) => one.locate(id, context())));
      for (const share of shares) {
        t.equal(share.id, shares[0]?.id);
        t.equal(share.path, shares[0]?.path);
        t.match(share.path, /^\//);
        t.not(share.server, '');
        t.ok(share.versions.length > 0);
      }
      const made = count?.();
      if (made !== undefined) t.equal(made.targets, before.targets + 2, 'a mount target for each place, and no more');
      for (const [n, one] of [a, b, c].entries()) t.same(await one.locate(id, context()), shares[n], 'the same later');
      t.same(await (await started(2)).locate(id, context()), shares[2], 'and after a restart');
      t.equal((await a.locate(shares[0]?.id ?? '', context())).id, shares[0]?.id, 'its id names it, too');
      t.same(count?.(), made);
      t.equal(a.progress?.(id), undefined, 'nothing is under way any more');
    },
  );

  await t.test('a share that this cluster has not made is found, and does not become a usual one', async (t) => {
    const { a, b, makes, others } = await world(t);
    const share = await a.locate(others, context());
    t.same((await b.locate(others, context())).id, share.id);
    if (makes) t.same(await a.usual(context()), []);
    const id = await a.ensure({}, context());
    if (makes) t.not((await a.locate(id, context())).id, share.id);
  });

  await t.test('what is not there, or names nothing, is said to be so, and nothing is made of it', async (t) => {
    const { a, missing, nonsense, count } = await world(t, 1);
    const before = count?.();
    for (const text of missing) t.equal(await codeOf(a.locate(text, context())), 'SHARE_MISSING', text);
    for (const text of nonsense) t.equal(await codeOf(a.locate(text, context())), 'OPTION_INVALID', text);
    t.same(count?.(), before);
  });

  await t.test('nobody has a share before it is known who this host is; it can be closed at any time', async (t) => {
    const { host } = await make(t);
    const provider = host(0);
    await provider.close();
    await provider.close();
    const other = host(0);
    await other.start(context());
    await other.start(context());
    await other.close();
    t.pass();
  });

  await makingConformance(t, make, world);
  await limitConformance(t, make, world);
};

type World = (
  t: Test,
  hosts?: number,
) => Promise<
  ShareWorld & {
    readonly started: (n: number, cluster?: string) => Promise<ShareProvider>;
    readonly a: ShareProvider;
    readonly b: ShareProvider;
  }
>;

/** Of those that make shares. */
const makingConformance = async (t: Test, make: MakeShareWorld, world: World): Promise<void> => {
  const { makes } = await make(t);
  if (!makes) return;

  await t.test('clusters do not see what others have made', async (t) => {
    const { a, started } = await world(t);
    const other = await started(1, 'other');
    const [ours, theirs] = await Promise.all([a.ensure({}, context()), other.ensure({}, context())]);
    t.not(ours, theirs);
    t.same(await a.usual(context()), [ours]);
    t.same(await other.usual(context()), [theirs]);
  });

  await t.test('nothing is made twice where answers are lost', async (t) => {
    const { a, b, count, loseAnswers } = await world(t);
    const before = count?.() ?? { shares: 0, targets: 0 };
    loseAnswers?.();
    const ids = await Promise.all([a.ensure({}, context()), b.ensure({}, context())]);
    t.equal(ids[0], ids[1]);
    const shares = await Promise.all([a, b].map((one) => one.locate(ids[0], context())));
    t.equal(shares[0]?.server, shares[1]?.server);
    t.same(count?.(), { shares: before.shares + 1, targets: before.targets + 1 });
  });

  await t.test('who gives up waiting finds later what was begun', async (t) => {
    const { a, count } = await world(t);
    const before = count?.() ?? { shares: 0, targets: 0 };
    await codeOf(a.ensure({}, context(1)));
    const id = await a.ensure({}, context());
    t.match(await codeOf(a.locate(id, context(0))), /^(DEADLINE|STILL_WORKING)$/);
    await codeOf(a.locate(id, context(5)));
    t.equal((await a.locate(id, context())).id, (await a.locate(id, context())).id);
    t.same(count?.(), { shares: before.shares + 1, targets: before.targets + 1 });
  });
};

/** Of those whose servers can limit folders. */
const limitConformance = async (t: Test, make: MakeShareWorld, world: World): Promise<void> => {
  const { limitOf } = await make(t);
  if (limitOf === undefined) return;

  await t.test('a folder may grow as far as it was last told, on whichever host', async (t) => {
    const { a, b, limitOf } = await world(t);
    const share = await a.locate(await a.ensure({}, context()), context());
    const [folder, other] = ['/.drayage/volumes/data', '/.drayage/volumes/other'];
    const limits = () => [limitOf?.(share, folder), limitOf?.(share, other)];
    const gib = 2 ** 30;
    await a.limit?.(share, folder, 10 * gib, context());
    await a.limit?.(share, folder, 10 * gib, context());
    t.same(limits(), [10 * gib, undefined]);
    await b.limit?.(share, folder, 20 * gib, context());
    await b.limit?.(share, other, gib, context());
    t.same(limits(), [20 * gib, gib]);
    await a.limit?.(share, folder, 0, context());
    await a.limit?.(share, folder, 0, context());
    t.same(limits(), [undefined, gib]);
  });
};
