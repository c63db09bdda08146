import { type Effects, failed, type Model, NONE, type Side } from './two-hosts-model.ts';
import { anyFile, becomes, FOLDERS, freeName, nameOf, nodeOf, parentOf, STALE } from './two-hosts-picks.ts';
import type { Tree } from './two-hosts-scene.ts';

/** A name is taken from a file of this host. */
export const cutLocal = (side: Side, path: string, step: number): void => {
  const local = side.locals.find((one) => one.path === path);
  if (local === undefined) return;
  // What was on its way under it may be kept beside somebody else's still.
  local.former.push(path);
  local.path = undefined;
  local.cutAt = step;
};

interface Naming {
  readonly side: Side;
  readonly what: string;
  readonly effects: Effects;
  readonly refusals: readonly string[];
  /** A folder that must be there afterwards. */
  readonly keeps: string;
  send(parent: number, host: Side['host'], caller: ReturnType<Side['host']['caller']>): unknown;
  /** `answered`: the host knows that it is done. */
  done(answered: boolean): void;
  /** Told from what is there, when no answer came. */
  happened?(now: Tree): boolean | Promise<boolean>;
}

/** A change of names: when its outcome is open it is waited for, and is whole or not there. */
export const name = async (
  model: Model,
  { side, what, effects, refusals, keeps, send, done, happened }: Naming,
): Promise<void> => {
  const parent = await nodeOf(model, side, keeps);
  if (parent === undefined) return;
  // One that others have taken away is there only for what is not saved in it.
  const isKept = [...model.tree.keys()].some((path) => path.startsWith(`${keeps}/`));
  const outcome = await model.ask(side, {
    ...{ what, effects, refusals },
    send: async (host, caller) => void (await send(parent, host, caller)),
  });
  const errno = failed(outcome);
  if (errno === undefined) {
    done(true);
    await model.look(side, effects, true);
    if (isKept && !model.folders(side).has(keeps)) model.problem(`${keeps} has gone with what was in it`);
    return;
  }
  if (refusals.includes(errno)) return;
  await model.settle(side);
  const now = await model.scene.look();
  const taken = [...effects.files].filter(([, text]) => text === undefined).map(([path]) => path);
  const left = taken.filter((path) => now.has(path));
  if (left.length > 0 && left.length < taken.length) model.problem(`${what} is done by half: ${left} are there still`);
  const isDone = (await happened?.(now)) ?? (left.length === 0 && taken.length > 0);
  if (isDone) done(false);
  await model.look(side, isDone ? effects : NONE, false);
};

export const unlink = async (model: Model, side: Side): Promise<void> => {
  const kept = [...model.view(side).keys()].filter((one) => one.includes('.conflict-'));
  const path = kept.length > 3 ? kept[0] : anyFile(model, side);
  if (path === undefined) return;
  const local = model.local(side, path);
  await name(model, {
    ...{ side, what: `unlink ${path}`, keeps: parentOf(path) },
    // What it was is nowhere any more.
    refusals: local?.disturbed === true ? ['ESTALE', 'ENOENT'] : [],
    effects: becomes([[path, undefined]], local?.dirty !== true || !local.disturbed),
    send: (parent, host, caller) => host.fs.unlink(parent, nameOf(path), caller),
    done: (answered) => {
      if (answered) cutLocal(side, path, model.step);
      // It was refused, as far as the host knows: the file has its name here, and is gone as if others had removed it.
      else if (local !== undefined) local.disturbed = true;
    },
  });
};

const nodeThere = async (side: Side, path: string): Promise<number | undefined> =>
  (await side.host.exists(path)) ? await side.host.node(path) : undefined;

export const rename = async (model: Model, side: Side): Promise<void> => {
  const from = anyFile(model, side);
  const to = model.random() < 0.4 ? anyFile(model, side) : freeName(model, side);
  if (from === undefined || to === undefined || from === to) return;
  const [source, target] = [model.local(side, from), model.local(side, to)];
  const toParent = await nodeOf(model, side, parentOf(to));
  if (toParent === undefined) return;
  const stored = model.tree.get(from);
  const own = source?.dirty === true || target?.dirty === true;
  const isNew = source?.dirty === true && source.base === undefined;
  // It was to take the place of what is at its name, which goes when it is renamed further.
  const isUnstored = source?.dirty === true && model.content(side, source)?.base === undefined;
  await name(model, {
    ...{ side, what: `rename ${from} ${to}`, keeps: parentOf(from) },
    refusals: source?.disturbed === true || target?.disturbed === true ? ['ESTALE', 'ENOENT'] : [],
    effects: isNew
      ? NONE
      : {
          ...becomes(
            // Of one that others have removed nothing comes to the new name before it is stored.
            isUnstored || stored === undefined
              ? [[from, undefined]]
              : [
                  [from, undefined],
                  [to, stored],
                ],
            !own,
          ),
          moved: { from, to },
        },
    send: (parent, host, caller) => host.fs.rename(parent, nameOf(from), toParent, nameOf(to), 0, caller),
    ...(isNew && { happened: (now: Tree) => now.get(from) !== source.bytes && now.get(to) === source.bytes }),
    // Of one that others have removed the bucket does not tell it.
    ...(!isNew && stored === undefined && { happened: async () => (await nodeThere(side, to)) === source?.node }),
    done: () => {
      cutLocal(side, to, model.step);
      if (source === undefined) return;
      source.former.push(from);
      source.path = to;
      // What it is to take the place of is what the host knew there: of a new file of its own that is what that was to replace.
      const replaced = target?.dirty === true ? target.base : model.tree.get(to);
      source.base = isNew || isUnstored ? replaced : stored;
    },
  });
};

export const chmod = async (model: Model, side: Side): Promise<void> => {
  const path = anyFile(model, side);
  if (path === undefined) return;
  const node = await nodeOf(model, side, path);
  if (node === undefined) return;
  const mode = model.pick([0o600, 0o640, 0o644]) ?? 0o644;
  await model.ask(side, {
    ...{ what: `chmod ${path}`, effects: NONE, refusals: STALE },
    send: ({ fs }, caller) => fs.setattr(node, { mode }, caller),
  });
};

export const mkdir = async (model: Model, side: Side): Promise<void> => {
  const folders = model.folders(side);
  const view = model.view(side);
  const path = model.pick(
    FOLDERS.filter((one) => one !== '' && !folders.has(one) && !view.has(one)).filter(
      (one) => parentOf(one) === '' || folders.has(parentOf(one)),
    ),
  );
  if (path === undefined) return;
  await name(model, {
    ...{ side, what: `mkdir ${path}`, keeps: parentOf(path), refusals: [], effects: NONE },
    send: (parent, host, caller) => host.fs.mkdir(parent, nameOf(path), 0o755, caller),
    done: () => undefined,
  });
};

export const rmdir = async (model: Model, side: Side): Promise<void> => {
  const folders = model.folders(side);
  const path = model.pick(FOLDERS.filter((one) => folders.has(one)));
  if (path === undefined) return;
  const isEmpty = ![...model.view(side).keys(), ...folders].some((one) => one.startsWith(`${path}/`));
  await name(model, {
    ...{ side, what: `rmdir ${path}`, keeps: parentOf(path), effects: NONE, refusals: isEmpty ? [] : ['ENOTEMPTY'] },
    send: (parent, host, caller) => host.fs.rmdir(parent, nameOf(path), caller),
    done: () => {
      if (!isEmpty) model.problem(`${path} was removed with what is in it`);
    },
  });
};

export const renameFolder = async (model: Model, side: Side): Promise<void> => {
  const folders = model.folders(side);
  const from = model.pick(FOLDERS.filter((one) => folders.has(one)));
  const view = model.view(side);
  const to = model.pick(
    FOLDERS.filter((one) => one !== '' && one !== from && !folders.has(one) && !view.has(one)).filter(
      (one) => parentOf(one) === '' || folders.has(parentOf(one)),
    ),
  );
  if (from === undefined || to === undefined || to.startsWith(`${from}/`)) return;
  const toParent = await nodeOf(model, side, parentOf(to));
  if (toParent === undefined) return;
  const inside = [...model.tree].filter(([path]) => path.startsWith(`${from}/`) && !path.endsWith('/'));
  const target = (path: string): string => to + path.slice(from.length);
  await name(model, {
    ...{ side, what: `rename-folder ${from} ${to}`, keeps: parentOf(from), refusals: [] },
    effects: {
      ...becomes(inside.flatMap(([path, text]) => [[path, undefined] as const, [target(path), text] as const])),
      moved: { from, to },
    },
    // It may have nothing in it that is stored.
    happened: (now) => {
      const isThere = (folder: string): boolean => [...now.keys()].some((path) => path.startsWith(`${folder}/`));
      return isThere(to) && !isThere(from);
    },
    send: (parent, host, caller) => host.fs.rename(parent, nameOf(from), toParent, nameOf(to), 0, caller),
    done: () => {
      // What was open in a folder of that name, which others have taken away, is not in this one.
      for (const { path } of side.locals) if (path?.startsWith(`${to}/`) === true) cutLocal(side, path, model.step);
      for (const local of side.locals) {
        if (local.path?.startsWith(`${from}/`) !== true) continue;
        // What others had removed from it is new in the other one.
        if (!model.tree.has(local.path)) local.base = model.tree.get(target(local.path));
        local.former.push(local.path);
        local.path = target(local.path);
      }
    },
  });
};

export const symlink = async (model: Model, side: Side): Promise<void> => {
  const path = freeName(model, side);
  if (path === undefined) return;
  const link = `${parentOf(path) === '' ? '' : `${parentOf(path)}/`}link`;
  if (model.view(side).has(link)) return;
  const aim = `aim-${model.step}`;
  await name(model, {
    ...{ side, what: `symlink ${link}`, keeps: parentOf(link), refusals: [], effects: becomes([[link, aim]]) },
    happened: (now) => now.get(link) === aim,
    send: (parent, host, caller) => host.fs.symlink(parent, 'link', aim, caller),
    done: () => undefined,
  });
};
