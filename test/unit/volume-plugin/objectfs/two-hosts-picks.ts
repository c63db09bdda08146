import { codeOf } from './namespace-world.ts';
import type { Effects, Model, Side } from './two-hosts-model.ts';

const NAMES = ['f', 'g', 'h'];
export const FOLDERS = ['', 'd', 'e', 'd/x'];

export const join = (folder: string, name: string): string => (folder === '' ? name : `${folder}/${name}`);
export const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

export const bytes = (model: Model, length: number): string => {
  const letter = String.fromCharCode(33 + model.below(90));
  return letter.repeat(Math.max(0, length - 1)) + String.fromCharCode(33 + model.below(90));
};

export const becomes = (files: Iterable<readonly [string, string | undefined]>, required = true): Effects => ({
  files: new Map(files),
  required,
});

export const anyFile = (model: Model, side: Side): string | undefined =>
  model.pick([...model.view(side).keys()].filter((path) => nameOf(path) !== 'link'));

export const freeName = (model: Model, side: Side): string | undefined => {
  const folders = model.folders(side);
  const view = model.view(side);
  const some = FOLDERS.filter((folder) => folder === '' || folders.has(folder))
    .flatMap((folder) => NAMES.map((name) => join(folder, name)))
    .filter((path) => !view.has(path) && !folders.has(path));
  return model.pick(some);
};

/** The number of a name that this host must see. */
export const nodeOf = async (model: Model, side: Side, path: string): Promise<number | undefined> => {
  try {
    return await side.host.node(path);
  } catch (error) {
    // What others have taken away was lost meanwhile.
    if (model.local(side, path)?.disturbed === true && !model.tree.has(path)) return undefined;
    model.problem(`${side.name} does not find ${path}: ${codeOf(error)} ${error}`);
    return undefined;
  }
};

/** ESTALE is for what others have changed; the bucket shows afterwards whether they have. */
export const STALE: readonly string[] = ['ESTALE'];
