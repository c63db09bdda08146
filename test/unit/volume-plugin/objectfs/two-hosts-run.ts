import { Model, NONE } from './two-hosts-model.ts';
import { takeStep } from './two-hosts-steps.ts';

/** So many steps from a seed, and then rest: answers what was not as it is promised, with seed and step. */
export const runTwoHosts = async (
  seed: number,
  steps: number,
  calm = false,
): Promise<{ readonly problems: readonly string[]; readonly counts: string }> => {
  const model = await Model.make(seed, calm);
  try {
    for (; model.step < steps && model.problems.length === 0; model.step += 1) await takeStep(model);
    if (model.problems.length === 0) await rest(model);
  } finally {
    await model.end();
  }
  const counts = [...model.counts].map(([what, count]) => `${what} ${count}`).join(', ');
  return { problems: model.problems, counts };
};

/** Everything is closed and written out: both hosts see the bucket as it is, and nothing of ours lies about. */
const rest = async (model: Model): Promise<void> => {
  for (const side of model.sides) {
    const { host } = side;
    for (const local of side.locals) {
      for (const handle of local.handles.splice(0)) {
        await Promise.resolve(host.fs.flush(local.node, handle, host.caller())).catch(() => undefined);
        await host.fs.release(local.node, handle, host.caller());
      }
    }
    await model.drain(side);
    await model.look(side, NONE, false);
  }
  model.scene.world.later(10_000);
  const files = [...model.tree].filter(([path]) => !path.endsWith('/') && !path.endsWith('link'));
  for (const side of model.sides) {
    const left = side.locals.filter(({ path }) => path !== undefined);
    if (left.length > 0) model.problem(`${side.name} has something left: ${left[0]?.path}`);
    for (const [path, text] of files) {
      if ((await side.host.read(path)) !== text) model.problem(`${side.name} reads another ${path}`);
    }
    const names = await namesBelow(model, side.host, '');
    const wanted = [...model.folders(side), ...[...model.tree.keys()].filter((path) => !path.endsWith('/'))].sort();
    if (names.sort().join() !== wanted.join()) model.problem(`${side.name} lists ${names}, not ${wanted}`);
  }
  const left = await model.scene.leftovers();
  if (left.length > 0) model.problem(`left behind: ${left}`);
};

const namesBelow = async (model: Model, host: Model['sides'][number]['host'], folder: string): Promise<string[]> => {
  const names: string[] = [];
  for (const name of await host.list(folder)) {
    const path = folder === '' ? name : `${folder}/${name}`;
    names.push(path);
    const isFolder = [...model.tree.keys()].some((key) => key.startsWith(`${path}/`));
    if (isFolder) names.push(...(await namesBelow(model, host, path)));
  }
  return names;
};
