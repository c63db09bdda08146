import { Errno } from '../../../../volume-plugin/fuse/file-system.ts';
import type { Base } from '../../../../volume-plugin/objectfs/content.ts';
import { codeOf, PREFIX } from './namespace-world.ts';
import { failed, type Local, type Model, NONE, type Side } from './two-hosts-model.ts';
import { chmod, mkdir, rename, renameFolder, rmdir, symlink, unlink } from './two-hosts-names.ts';
import { anyFile, bytes, freeName, nameOf, nodeOf, parentOf, STALE } from './two-hosts-picks.ts';
import { FINE, show } from './two-hosts-scene.ts';

const O_RDWR = 2;
const O_CREAT = 0o100;
const LONGEST = 400;
/** Begins to have a file open. */
const opened = (side: Side, path: string, node: number, handle: number, text: string, isNew: boolean): Local => {
  // Another node of that name: what was open before has lost it.
  for (const one of side.locals) if (one.node !== node && one.path === path) one.path = undefined;
  const known = side.locals.find((one) => one.node === node);
  if (known !== undefined) {
    known.handles.push(handle);
    return known;
  }
  const local: Local = {
    ...{ node, path, former: [], bytes: text, dirty: isNew, versions: new Map(isNew ? [[text, '']] : []), mask: '' },
    ...{ base: isNew ? undefined : text, handles: [handle], disturbed: false, kept: false },
    ...{ untold: undefined, orBase: undefined, passed: undefined, cutAt: undefined },
  };
  side.locals.push(local);
  return local;
};

const create = async (model: Model, side: Side): Promise<void> => {
  const path = freeName(model, side);
  if (path === undefined) return;
  const parent = await nodeOf(model, side, parentOf(path));
  if (parent === undefined) return;
  // Of what others have removed, and has attributes that wait here, see `stat`.
  const isKnown = side.host.fs.status()['attributesWaiting'] !== 0;
  if ((await side.host.exists(path)) && !isKnown) {
    // What was brought to the bucket in the background since the last look is there.
    await model.look(side, NONE, false);
    if (!model.tree.has(path)) model.problem(`${side.name} sees ${path}, which is not there`);
    return;
  }
  const outcome = await model.ask(side, {
    ...{ what: `create ${path}`, effects: NONE, refusals: [] },
    send: async ({ fs }, caller) => {
      const made = await fs.create(parent, nameOf(path), 0o644, O_CREAT | O_RDWR, caller);
      return { node: made.attributes.node, handle: made.handle };
    },
  });
  if (!('value' in outcome)) return;
  const { node, handle } = outcome.value;
  const isNew = side.host.contents.find(node)?.dirty === true;
  // What was brought there in the background meanwhile was opened.
  if (!isNew) await model.look(side, NONE, false);
  opened(side, path, node, handle, isNew ? '' : (model.tree.get(path) ?? ''), isNew);
};

const open = async (model: Model, side: Side, path = anyFile(model, side)): Promise<void> => {
  if (path === undefined) return;
  const node = await nodeOf(model, side, path);
  if (node === undefined) return;
  const outcome = await model.ask(side, {
    ...{ what: `open ${path}`, effects: NONE, refusals: [] },
    send: async ({ fs }, caller) => (await fs.open(node, O_RDWR, caller)).handle,
  });
  if (!('value' in outcome)) return;
  const local = opened(side, path, node, outcome.value, model.view(side).get(path) ?? '', false);
  local.disturbed &&= local.dirty;
};

/** Close-to-open: what was closed anywhere is what is read. */
const read = async (model: Model, side: Side): Promise<void> => {
  const path = anyFile(model, side);
  if (path === undefined) return;
  const expected = model.view(side).get(path);
  model.count('read');
  try {
    const got = Buffer.from(await side.host.read(path), 'utf8').toString('latin1');
    // What was brought to the bucket, or kept beside it, in the background meanwhile may be read or not.
    if (got !== expected) await model.look(side, NONE, false);
    const now = model.view(side).get(path);
    if (got !== expected && got !== now) {
      model.problem(`${side.name} reads ${show(got)} of ${path}, not ${show(expected)} or ${show(now)}`);
    }
  } catch (error) {
    const local = model.local(side, path);
    // What it was is nowhere any more.
    if (codeOf(error) === 'ESTALE' && local?.disturbed === true) return;
    // It was kept beside what others have, or they have removed it, in the background meanwhile.
    await model.look(side, NONE, false);
    if (codeOf(error) === 'ENOENT' && !model.view(side).has(path)) return;
    model.problem(`${side.name} cannot read ${path}: ${error}`);
  }
};

const anyOpen = (model: Model, side: Side): Local | undefined =>
  model.pick(side.locals.filter(({ handles }) => handles.length > 0));

const checkStale = (model: Model, local: Local, what: string, errno: string | undefined): void => {
  if (errno !== 'ESTALE') return;
  const { untold } = local;
  model.afterwards.push(() => {
    if (!local.disturbed && !local.kept && untold === undefined)
      model.problem(`${what} is refused, and nobody else has changed it`);
  });
};

const baseOf = async (model: Model, side: Side, local: Local, handle: number): Promise<Base | undefined> => {
  const { fs } = side.host;
  try {
    await fs.read(local.node, handle, 0, 0, side.host.caller());
  } catch (error) {
    // Others have taken it away.
    if (codeOf(error) === 'ESTALE') return undefined;
    throw error;
  }
  return model.content(side, local)?.base;
};

const change = async (model: Model, side: Side): Promise<void> => {
  const local = anyOpen(model, side);
  const handle = local?.handles[0];
  if (local === undefined || handle === undefined) return;
  if (!local.dirty) {
    // What it is built on is what the file is here now: in the engine's next life the one that it has heard of first.
    const base = await baseOf(model, side, local, handle);
    const text = base === undefined ? undefined : model.scene.textOf(base.etag);
    if (text === undefined && (base !== undefined || model.content(side, local)?.dirty !== true)) return;
    // One that others had removed before its folder was renamed here is new in the other folder.
    const isElsewhere = base !== undefined && local.path !== undefined && base.key !== PREFIX + local.path;
    local.base = isElsewhere ? model.tree.get(local.path ?? '') : text;
    local.bytes = text ?? local.bytes;
    local.kept = false;
    local.orBase = undefined;
    local.mask = '';
  }
  const before = local.bytes;
  const isCut = model.random() < 0.25;
  const offset = isCut ? 0 : model.below(Math.min(LONGEST, before.length + 30));
  const text = bytes(model, 1 + model.below(150));
  const size = isCut ? model.below(LONGEST) : Math.max(before.length, offset + text.length);
  const after = isCut
    ? before.slice(0, size).padEnd(size, '\0')
    : before.slice(0, offset).padEnd(offset, '\0') + text + before.slice(offset + text.length);
  const earlier = [...local.versions].filter(([text]) => text !== after);
  local.versions.set(after, '');
  const { node } = local;
  const outcome = await model.ask(side, {
    ...{ what: `${isCut ? 'truncate' : 'write'} ${local.path} ${size}`, effects: NONE, refusals: STALE },
    send: async ({ fs }, caller) => {
      if (isCut) await fs.setattr(node, { size, handle }, caller);
      else await fs.write(node, handle, offset, Buffer.from(text, 'latin1'), false, caller);
    },
  });
  checkStale(model, local, `${side.name} write ${local.path}`, failed(outcome));
  if (failed(outcome) !== undefined) return;
  local.bytes = after;
  const changed = (before: string): string => {
    const mask = before.padEnd(size, ' ').slice(0, size);
    return isCut ? mask : mask.slice(0, offset) + 'w'.repeat(text.length) + mask.slice(offset + text.length);
  };
  local.mask = changed(local.mask);
  for (const [version, mask] of earlier) local.versions.set(version, changed(mask));
  local.dirty = model.content(side, local)?.dirty === true;
};

/** What a flush has answered, and what must be so then. */
const checkFlush = (model: Model, side: Side, local: Local, errno: string | undefined): void => {
  if (errno !== undefined || side.durability === 'local' || local.path === undefined) return;
  if (model.content(side, local)?.dirty === true) model.problem(`${local.path} was closed and waits still`);
};

/** A lost update is told by the next close or fsync, whatever has happened meanwhile. */
const checkTold = async (model: Model, side: Side, local: Local, errno: string | undefined): Promise<void> => {
  const { untold } = local;
  // What was kept while it was asked is told by it as well; with `durability=local` it may be after it.
  await model.look(side, NONE, false);
  const isDue = side.durability === 'server' ? local.untold : untold;
  if (isDue === 'must' && errno === undefined && local.path !== undefined) {
    model.problem(`${side.name} was not told that ${local.path} was kept beside another`);
  }
  if (errno === 'ESTALE') local.untold = undefined;
};

const fsync = async (model: Model, side: Side, local = anyOpen(model, side)): Promise<void> => {
  const handle = local?.handles[0];
  if (local === undefined || handle === undefined) return;
  const outcome = await model.ask(side, {
    ...{ what: `fsync ${local.path}`, effects: NONE, refusals: STALE },
    send: ({ fs }, caller) => fs.fsync(local.node, handle, false, caller),
  });
  checkStale(model, local, `${side.name} flush ${local.path}`, failed(outcome));
  checkFlush(model, side, local, failed(outcome));
  await checkTold(model, side, local, failed(outcome));
};

const close = async (model: Model, side: Side, local = anyOpen(model, side)): Promise<void> => {
  const handle = local?.handles.shift();
  if (local === undefined || handle === undefined) return;
  const outcome = await model.ask(side, {
    ...{ what: `close ${local.path}`, effects: NONE, refusals: STALE },
    send: ({ fs }, caller) => fs.flush(local.node, handle, caller),
  });
  checkStale(model, local, `${side.name} flush ${local.path}`, failed(outcome));
  checkFlush(model, side, local, failed(outcome));
  await checkTold(model, side, local, failed(outcome));
  const { fs } = side.host;
  await fs.release(local.node, handle, side.host.caller());
};

/** A listing has what the host must see, and each name once. */
const list = async (model: Model, side: Side): Promise<void> => {
  const before = model.folders(side);
  const folder = model.pick(['', ...before]) ?? '';
  const inside = (): string[] =>
    [...model.view(side).keys(), ...model.folders(side)].filter((path) => path !== '' && parentOf(path) === folder);
  const expected = inside();
  model.count('list');
  try {
    const names = await side.host.list(folder);
    // What was brought to the bucket in the background while it was read may be in it or not.
    await model.look(side, NONE, false);
    const now = inside();
    // Of a file that others have taken away what is here is told at its close: until then it may be listed or not.
    const isStored = (path: string): boolean =>
      [...model.tree.keys()].some((key) => key === path || key.startsWith(`${path}/`));
    const taken = (path: string): boolean =>
      !isStored(path) && (before.has(path) || model.local(side, path)?.disturbed === true);
    const may = new Set([...expected, ...now].map(nameOf));
    const sure = new Set(expected.filter((path) => now.includes(path) && !taken(path)).map(nameOf));
    const isRight = names.every((name) => may.has(name)) && [...sure].every((name) => names.includes(name));
    if (!isRight || new Set(names).size < names.length)
      model.problem(`${side.name} lists ${folder}: ${names.sort()}, not ${[...may].sort()}`);
  } catch (error) {
    model.problem(`${side.name} cannot list ${folder}: ${error}`);
  }
};

const stat = async (model: Model, side: Side): Promise<void> => {
  const path = anyFile(model, side);
  // Attributes that wait are this host's until they are in the bucket, and it does not ask for others'.
  if (path === undefined || side.host.fs.status()['attributesWaiting'] !== 0) return;
  const node = await nodeOf(model, side, path);
  if (node === undefined) return;
  model.count('stat');
  const { size } = await side.host.stat(path);
  const expected = model.view(side).get(path)?.length;
  if (size === expected) return;
  // As in `read`.
  await model.look(side, NONE, false);
  const now = model.view(side).get(path)?.length;
  if (size !== now) model.problem(`${side.name} says that ${path} has ${size} bytes, not ${expected} or ${now}`);
};

/** Both at once: one wins, and the other one is told. */
const closeBoth = async (model: Model): Promise<void> => {
  const [a, b] = model.sides;
  // Which one wins is chance.
  if (a === undefined || b === undefined || model.calm) return;
  const pairs = a.locals.flatMap((mine) => {
    const theirs = b.locals.find((one) => one.path === mine.path && one.dirty && one.handles.length > 0);
    return mine.dirty && mine.handles.length > 0 && theirs !== undefined ? [{ mine, theirs }] : [];
  });
  const pair = model.pick(pairs);
  if (pair === undefined) return;
  model.count('both');
  pair.mine.disturbed = true;
  pair.theirs.disturbed = true;
  await Promise.all([close(model, a, pair.mine), close(model, b, pair.theirs)]);
};

const again = async (model: Model, side: Side): Promise<void> => {
  const survived = model.random() < 0.6;
  model.count(survived ? 'restarts' : 'remounts');
  await model.restart(side, survived);
  // What was not closed when the mount went is brought there as it is, or not at all.
  if (!survived) await model.drain(side);
};

type Step = (model: Model, side: Side) => Promise<void>;

const STEPS: readonly (readonly [number, Step])[] = [
  [9, create],
  [9, (model, side) => open(model, side)],
  [24, change],
  [6, (model, side) => fsync(model, side)],
  [12, (model, side) => close(model, side)],
  [4, closeBoth],
  [9, read],
  [4, unlink],
  [6, rename],
  [3, chmod],
  [4, mkdir],
  [2, rmdir],
  [3, renameFolder],
  [1, symlink],
  [4, list],
  [4, stat],
  [3, again],
  [2, async (model, side) => model.drain(side)],
];
const WEIGHT = STEPS.reduce((sum, [weight]) => sum + weight, 0);

export const takeStep = async (model: Model): Promise<void> => {
  const side = model.pick(model.sides);
  if (side === undefined) throw new Errno('EINVAL');
  let at = model.below(WEIGHT);
  const [, step] = STEPS.find(([weight]) => {
    at -= weight;
    return at < 0;
  }) ?? [0, read];
  model.scene.world.later();
  model.taken = { side: undefined, files: new Map() };
  const isBad = !model.calm && model.random() < 0.2;
  model.forecast = isBad
    ? { lossy: model.pick([0.1, 0.3]) ?? 0, busy: model.pick([0, 0.1]) ?? 0, down: model.random() < 0.2 }
    : FINE;
  await step(model, side);
  if (model.calm) await model.attributesAreStored();
  await model.look(side, NONE, false);
  for (const check of model.afterwards.splice(0)) check();
};
